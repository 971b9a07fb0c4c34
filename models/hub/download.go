package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultWorkers = 8
	maxWorkers     = 64
	// rangeBytes is the length of a range: long against the time that a request
	// takes to begin, short enough that the connections end together.
	rangeBytes = 64 << 20
	// writeBytes are gathered before they are written and recorded; a killed
	// process loses as much a connection.
	writeBytes = 256 << 10
	// resumePause is the wait before a broken transfer goes on.
	resumePause = time.Second
)

var (
	errBroken   = errors.New("the transfer broke")
	errNoRanges = errors.New("the server ignores ranges")
)

// item is one file to have.
type item struct {
	name     string // in the folder
	file     string // in the repository
	from     *listing
	entry    entry
	need     bool
	raw      []byte                  // the content, if it decided about others
	location atomic.Pointer[url.URL] // the storage's signed URL, while it is good
}

// download brings files over at most cap(slots) connections.
type download struct {
	c     *client
	t     *target
	m     *meter
	slots chan struct{}
	piece int64
}

// files brings items, and calls ready for each that is whole and hashed. The
// first error ends all.
func (d *download) files(ctx context.Context, items []*item, ready func(*item) error) error {
	g := newGroup(ctx)
	queue := make(chan *item)
	for range min(cap(d.slots), len(items)) {
		g.run(func(ctx context.Context) error {
			for it := range queue {
				start := time.Now()
				if err := d.file(ctx, it); err != nil {
					return err
				}
				if err := ready(it); err != nil {
					return fmt.Errorf("%s: %w", it.name, err)
				}
				slog.Info("file downloaded", "file", it.name, "bytes", it.entry.Size, "seconds", time.Since(start).Seconds(), "hash", it.entry.etag())
				d.m.done(it.name)
			}
			return nil
		})
	}
	g.run(func(ctx context.Context) error {
		defer close(queue)
		for _, it := range items {
			select {
			case queue <- it:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return g.wait()
}

// file brings one file until its partial file is whole and has the right hash.
// Bytes that are not the file's are deleted and come once more from the start.
func (d *download) file(ctx context.Context, it *item) error {
	stream, breaks := false, 0
	for wrong := 0; ; {
		err := d.attempt(ctx, it, stream)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errNoRanges) && !stream:
			stream = true
			continue
		case errors.Is(err, errBroken) && breaks < maxRetries: // only a stream gets here: it cannot go on in the middle
			breaks++
			if err := d.c.s.hooks.wait(ctx, resumePause); err != nil {
				return err
			}
			continue
		case errors.Is(err, ErrIntegrity) && wrong == 0:
			wrong++
			slog.Warn("a file arrived wrong and is fetched again", "file", it.name, "error", err)
			continue
		case errors.Is(err, errBroken):
			err = fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return fmt.Errorf("%s: %w", it.name, err)
	}
}

// attempt brings what is missing of a file and hashes it meanwhile. A stream
// is one request from the beginning, without a range.
func (d *download) attempt(ctx context.Context, it *item, stream bool) (err error) {
	p, err := d.t.openPartial(it.name, it.entry, d.piece)
	if err != nil {
		return err
	}
	defer func() {
		switch {
		case err == nil:
			p.close()
		case errors.Is(err, ErrIntegrity):
			d.m.there(-p.there())
			d.t.drop(p)
		default:
			d.m.there(-p.there())
			p.close()
		}
	}()
	if stream {
		if err := p.reset(p.size); err != nil {
			return d.t.failed(err)
		}
	}
	if it.raw != nil {
		err = d.fill(p, it)
	}
	d.m.there(p.there())
	if err != nil {
		return err
	}
	g := newGroup(ctx)
	got := ""
	g.run(func(ctx context.Context) (err error) {
		got, err = p.digest(ctx, it.entry.etag())
		return err
	})
	var next atomic.Int64
	for range min(cap(d.slots), len(p.have)) {
		g.run(func(ctx context.Context) error {
			buf := make([]byte, min(writeBytes, p.size))
			for {
				i := int(next.Add(1) - 1)
				if i >= len(p.have) {
					return nil
				}
				if err := d.bring(ctx, it, p, i, stream, buf); err != nil {
					return err
				}
			}
		})
	}
	if err := g.wait(); err != nil {
		return err
	}
	if got != it.entry.etag() {
		return fmt.Errorf("%w: the hash is %s, the Hub's listing says %s", ErrIntegrity, got, it.entry.etag())
	}
	return nil
}

// fill writes a content that is in memory.
func (d *download) fill(p *partial, it *item) error {
	for i := range p.have {
		from, to := p.span(i)
		if err := p.append(i, it.raw[from:to]); err != nil {
			return d.t.failed(err)
		}
	}
	return nil
}

// bring brings piece i, going on after breaks as long as bytes arrive.
func (d *download) bring(ctx context.Context, it *item, p *partial, i int, stream bool, buf []byte) error {
	for fails := 0; ; {
		from, to := p.span(i)
		if from == to {
			return nil
		}
		select {
		case d.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		n, err := d.transfer(ctx, it, p, i, buf)
		<-d.slots
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, errBroken) || stream:
			return err
		case n > 0:
			fails = 0
		}
		if fails++; fails > maxRetries {
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		if err := d.c.s.hooks.wait(ctx, resumePause); err != nil {
			return err
		}
	}
}

// transfer asks for what is missing of piece i and writes what arrives. It
// returns how many bytes did.
func (d *download) transfer(ctx context.Context, it *item, p *partial, i int, buf []byte) (n int64, err error) {
	from, to := p.span(i)
	whole := from == 0 && to == p.size
	header := http.Header{}
	if !whole {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	}
	ans, err := d.open(ctx, it, header)
	if err != nil {
		return 0, err
	}
	defer ans.Body.Close()
	if to, err = body(ans, from, to, p.size, whole); err != nil {
		return 0, err
	}
	for at := from; at < to; {
		b := buf[:min(int64(len(buf)), to-at)]
		k, err := io.ReadFull(ans.Body, b)
		if k > 0 {
			if err := p.append(i, b[:k]); err != nil {
				return n, d.t.failed(err)
			}
			at += int64(k)
			n += int64(k)
			d.m.received(it.name, int64(k))
		}
		if err != nil {
			return n, fmt.Errorf("%w after %d of %d bytes: %s", errBroken, at-from, to-from, d.c.plain(err))
		}
	}
	if whole && ans.ContentLength < 0 {
		if k, _ := io.ReadFull(ans.Body, buf[:1]); k > 0 {
			return n, fmt.Errorf("%w: more than the listing's %d bytes arrive", ErrIntegrity, p.size)
		}
	}
	return n, nil
}

// body says up to where the answer to a request for [from, to) goes.
func body(ans *answer, from, to, size int64, whole bool) (int64, error) {
	if enc := ans.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return 0, fmt.Errorf("%w: %s compresses files (%s) although it was asked not to", ErrNotHub, where(ans.at), clip(enc))
	}
	lie := func(says string) (int64, error) {
		return 0, fmt.Errorf("%w: the server says %s, the listing %d bytes", ErrIntegrity, says, size)
	}
	switch ans.StatusCode {
	case http.StatusOK:
		if !whole {
			return 0, errNoRanges
		}
		if n := ans.ContentLength; n >= 0 && n != size {
			return lie(fmt.Sprintf("%d bytes", n))
		}
		return size, nil
	case http.StatusPartialContent:
		said := ans.Header.Get("Content-Range")
		first, last, total, ok := parseContentRange(said)
		if !ok || first != from || last < first || last >= to {
			return 0, fmt.Errorf("%w: %s answers the range %q to a request for bytes %d-%d", ErrNotHub, where(ans.at), clip(said), from, to-1)
		}
		if total >= 0 && total != size {
			return lie(fmt.Sprintf("%d bytes", total))
		}
		return last + 1, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return lie(fmt.Sprintf("that there are no bytes %d-%d", from, to-1))
	}
	return 0, fmt.Errorf("%w: %s answers %d to a request for a file", ErrNotHub, where(ans.at), ans.StatusCode)
}

// parseContentRange reads "bytes first-last/total"; a total of "*" is -1.
func parseContentRange(s string) (first, last, total int64, ok bool) {
	s, found := strings.CutPrefix(s, "bytes ")
	span, all, slash := strings.Cut(s, "/")
	a, b, dash := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(a, 10, 64)
	last, err2 := strconv.ParseInt(b, 10, 64)
	total, err3 := strconv.ParseInt(all, 10, 64)
	if all == "*" {
		total, err3 = -1, nil
	}
	return first, last, total, found && slash && dash && err1 == nil && err2 == nil && err3 == nil
}

// open asks for a file: at the storage while its signed URL is good, else from
// the Hub, which signs a new one.
func (d *download) open(ctx context.Context, it *item, header http.Header) (*answer, error) {
	if u := it.location.Load(); u != nil {
		ans, err := d.c.once(ctx, ask{method: http.MethodGet, url: u, repo: it.from.repo, header: header})
		if err == nil && (ans.StatusCode < 300 || ans.StatusCode == http.StatusRequestedRangeNotSatisfiable) {
			return ans, nil
		}
		if err == nil {
			ans.Body.Close()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		it.location.CompareAndSwap(u, nil)
	}
	u := d.c.resolve(it.from.repo, it.from.commit, it.file)
	ans, err := d.c.do(ctx, ask{method: http.MethodGet, url: u, repo: it.from.repo, header: header})
	if err != nil {
		return nil, err
	}
	if err := checkCommit(ans, it.from.commit); err != nil {
		ans.Body.Close()
		return nil, err
	}
	if !sameOrigin(ans.at, d.c.base) {
		it.location.Store(ans.at)
	}
	return ans, nil
}

// small brings a settings file into memory.
func (d *download) small(ctx context.Context, it *item) ([]byte, error) {
	size, etag := it.entry.Size, it.entry.etag()
	if size > maxSettings {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrListing, it.name, size)
	}
	for wrong, fails := 0, 0; ; {
		raw, err := d.slurp(ctx, it)
		if err == nil {
			h := newHash(etag, size)
			h.Write(raw)
			if got := sum(h); got != etag {
				err = fmt.Errorf("%w: the hash is %s, the Hub's listing says %s", ErrIntegrity, got, etag)
			}
		}
		switch {
		case err == nil:
			return raw, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, ErrIntegrity) && wrong == 0:
			wrong++
			continue
		case errors.Is(err, errBroken) && fails < maxRetries:
			fails++
			if err := d.c.s.hooks.wait(ctx, resumePause); err != nil {
				return nil, err
			}
			continue
		case errors.Is(err, errBroken):
			err = fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return nil, fmt.Errorf("%s: %w", path.Join(it.from.repo, it.file), err)
	}
}

func (d *download) slurp(ctx context.Context, it *item) ([]byte, error) {
	ans, err := d.open(ctx, it, nil)
	if err != nil {
		return nil, err
	}
	defer ans.Body.Close()
	size := it.entry.Size
	if _, err := body(ans, 0, size, size, true); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(ans.Body, size+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w after %d of %d bytes: %s", errBroken, len(raw), size, d.c.plain(err))
	case int64(len(raw)) != size:
		return nil, fmt.Errorf("%w: %d bytes or more arrive, the listing says %d", ErrIntegrity, len(raw), size)
	}
	return raw, nil
}

// group runs functions until all have ended; the first error ends the others'
// context. A panic is an error.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	once   sync.Once
	err    error
}

func newGroup(ctx context.Context) *group {
	g := new(group)
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

func (g *group) run(f func(context.Context) error) {
	g.wg.Go(func() {
		err := errors.New("panic")
		defer func() {
			if v := recover(); v != nil {
				slog.Error("panic", "in", "a download", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
			if err != nil {
				g.once.Do(func() { g.err = err; g.cancel(err) })
			}
		}()
		err = f(g.ctx)
	})
}

func (g *group) wait() error {
	g.wg.Wait()
	g.cancel(nil)
	return g.err
}
