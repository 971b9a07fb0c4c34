// Package hub fetches model repositories from the Hugging Face Hub and shares
// folders with its Python client.
//
// A fetch is pinned: the revision is resolved to a commit once, its files are
// listed with sizes and hashes, those that the kind of model needs are chosen
// and brought in ranges over several connections, hashed while they are
// written, and renamed into place when the hash is right. Records beside the
// files (layout of huggingface_hub's local_dir) and a manifest of our own let
// a killed process go on and a complete folder load without a request.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
)

// Request is what Fetch is to bring.
type Request struct {
	Repo     string         // "org/name"
	Revision string         // a branch, tag or commit; "" is main
	Kind     string         // text, ner, embed, vision-embed, vision or image: selects the files
	Dir      string         // the folder, made if it does not exist
	Variant  string         // of the weights, "" or fp16; the plain files where there is none
	Update   bool           // ask the Hub even if the folder is complete
	Verify   bool           // hash what is there, even if it is recorded as right
	Workers  int            // connections at once; 0 is 8, at most 64
	Report   func(Progress) // called often, from any goroutine but never two at once; may be nil
}

// Result is where the files are.
type Result struct {
	Dir      string   // Request.Dir, or a complete snapshot in the Hub cache
	Commit   string   // "" where a folder has no records
	Source   string   // "local", "cache" or "hub"
	Bytes    int64    // fetched now
	Files    int      // of the selection; 0 where it was not looked at
	Warnings []string // what an operator should know although it went well
}

// fetch is one Fetch on its way.
type fetch struct {
	s   Settings
	r   Request
	rev string
	m   *meter
}

// Fetch makes a model's files be there. A complete folder needs no request,
// unless Update, Verify, or another repository or revision than the folder's
// is asked for; then a complete snapshot in the Hub cache is used as it is;
// then the Hub is asked. Without the Hub a complete folder or snapshot will do,
// with a warning.
//
// A cancelled context ends it; the next Fetch goes on where this one ended.
func (s Settings) Fetch(ctx context.Context, r Request) (*Result, error) {
	f := &fetch{s: s, r: r, rev: r.Revision, m: newMeter(r.Report, s.hooks.time)}
	if f.rev == "" {
		f.rev = "main"
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	f.m.phase(Checking)
	res, err := f.fetch(ctx)
	if err == nil {
		f.m.phase(Done)
	}
	return res, err
}

func (f *fetch) check() error {
	if err := CheckRepo(f.r.Repo); err != nil {
		return err
	}
	if err := checkRevision(f.rev); err != nil {
		return err
	}
	switch f.r.Kind {
	case kindText, kindNER, kindEmbed, kindVisionEmbed, kindVision, kindImage:
	default:
		return fmt.Errorf("%w: %q is no kind of model (text, ner, embed, vision-embed, vision, image)", ErrRequest, clip(f.r.Kind))
	}
	if v := f.r.Variant; v != "" && strings.ContainsFunc(v, func(r rune) bool { return r > 0x7f || !wordByte(byte(r)) }) {
		return fmt.Errorf("%w: %q is no variant", ErrRequest, clip(v))
	}
	if f.r.Dir == "" {
		return fmt.Errorf("%w: no folder is named", ErrRequest)
	}
	if f.r.Workers < 0 || f.r.Workers > maxWorkers {
		return fmt.Errorf("%w: %d connections: 1 to %d are possible", ErrRequest, f.r.Workers, maxWorkers)
	}
	return nil
}

// asksHub says whether a complete folder is not enough.
func (f *fetch) asksHub() bool { return f.r.Update || f.r.Verify }

func (f *fetch) fetch(ctx context.Context) (*Result, error) {
	m, lacks := f.held()
	if lacks == nil && !f.asksHub() {
		return f.local(m), nil
	}
	if f.s.Offline {
		return f.without(ctx, fmt.Errorf("%w (HF_HUB_OFFLINE)", ErrOffline), "")
	}
	if !f.asksHub() {
		if dir, commit := f.s.cached(f.r.Repo, f.rev, f.r.Kind); dir != "" {
			return &Result{Dir: dir, Commit: commit, Source: "cache"}, nil
		}
	}
	res, err := f.locked(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
		return res, err
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrNotHub), errors.Is(err, ErrRateLimited):
		return f.without(ctx, err, "the Hub could not be asked")
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrRevision), errors.Is(err, ErrGated), errors.Is(err, ErrToken), errors.Is(err, ErrDenied), errors.Is(err, ErrFolder):
		if m, lacks := f.held(); lacks == nil {
			return f.unverified(ctx, f.local(m), "the folder is used as it is: "+err.Error())
		}
	}
	return nil, err
}

// locked asks the Hub while no other process writes into the folder.
func (f *fetch) locked(ctx context.Context) (*Result, error) {
	t, err := openTarget(f.r.Dir, f.s.hooks.time)
	if err != nil {
		return nil, err
	}
	defer t.close()
	release, err := t.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	m, lacks := f.held() // another process may have brought it meanwhile
	if lacks == nil && !f.asksHub() {
		return f.local(m), nil
	}
	return f.hub(ctx, t, lacks == nil)
}

// held looks at the folder: nil if it is complete and of the repository and
// revision that were asked for.
func (f *fetch) held() (*Manifest, error) {
	m, err := inspect(f.r.Dir, f.r.Kind, "", "")
	if err != nil {
		return m, err
	}
	other := func(what string) error {
		return fmt.Errorf("%w: %s holds %s, not %s at %s", ErrIncomplete, f.r.Dir, what, f.r.Repo, f.rev)
	}
	switch {
	case m != nil && m.Repo != f.r.Repo:
		return m, other(clip(m.Repo))
	case m != nil && m.Revision != f.rev && m.Commit != f.rev:
		return m, other(clip(m.Repo) + " at " + clip(m.Revision))
	case m == nil && isCommit(f.rev):
		if c := recordedCommit(f.r.Dir, f.r.Kind); c != "" && c != f.rev {
			return m, other("commit " + clip(c))
		}
	}
	return m, nil
}

// recordedCommit is the commit of a folder that has records but no manifest.
func recordedCommit(dir, kind string) string {
	sel, err := selectFiles(diskSource(dir), kind, "")
	if err != nil {
		return ""
	}
	return diskSource(dir).commit(sel)
}

// local is the result of a complete folder.
func (f *fetch) local(m *Manifest) *Result {
	res := &Result{Dir: f.r.Dir, Source: "local"}
	if m != nil {
		res.Commit, res.Files = m.Commit, len(m.Files)
	} else {
		res.Commit = recordedCommit(f.r.Dir, f.r.Kind)
	}
	return res
}

// without ends a fetch that has no Hub: with the folder, with a snapshot of the
// Hub cache, or with err and what is missing.
func (f *fetch) without(ctx context.Context, err error, warning string) (*Result, error) {
	m, lacks := f.held()
	if lacks == nil {
		if warning != "" {
			warning += ", the folder is used as it is: " + err.Error()
		}
		return f.unverified(ctx, f.local(m), warning)
	}
	if dir, commit := f.s.cached(f.r.Repo, f.rev, f.r.Kind); dir != "" {
		if warning != "" {
			warning += ", the Hub cache is used: " + err.Error()
		}
		return f.unverified(ctx, &Result{Dir: dir, Commit: commit, Source: "cache"}, warning)
	}
	return nil, fmt.Errorf("%w; %w", err, lacks)
}

// unverified gives a result that the Hub did not confirm. Verify then goes by
// the hashes that were recorded.
func (f *fetch) unverified(ctx context.Context, res *Result, warning string) (*Result, error) {
	if warning != "" {
		slog.Warn(warning)
		res.Warnings = append(res.Warnings, warning)
	}
	if !f.r.Verify {
		return res, nil
	}
	unknown, err := verifyRecorded(ctx, res.Dir, f.r.Kind)
	if err != nil {
		return nil, err
	}
	if unknown > 0 {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%d files have no recorded hash and could not be verified", unknown))
	}
	return res, nil
}

// verifyRecorded hashes the files of a folder against its manifest, its
// records, or the names of the blobs that it links to.
func verifyRecorded(ctx context.Context, dir, kind string) (unknown int, err error) {
	m, _ := ReadManifest(dir)
	sel, err := selectFiles(diskSource(dir), kind, "")
	if err != nil {
		return 0, err
	}
	names := slices.Clone(sel.need)
	if sel.base != "" {
		for _, name := range selectBase(diskSource(filepath.Join(dir, baseDir))).need {
			names = append(names, baseDir+"/"+name)
		}
	}
	for _, name := range names {
		at := diskSource(dir).path(name)
		etag := blobID(at)
		if r, ok := readMetadata(dir, name); ok && etag == "" {
			etag = r.etag
		}
		if m != nil && m.Files[name].ETag != "" {
			etag = m.Files[name].ETag
		}
		if !isHex(etag) || len(etag) != 40 && len(etag) != 64 {
			unknown++
			continue
		}
		same, err := hashFile(ctx, at, etag)
		if err != nil {
			return unknown, err
		}
		if !same {
			return unknown, fmt.Errorf("%w: %s is not what was recorded (%s): delete it", ErrIntegrity, at, etag)
		}
	}
	return unknown, nil
}
