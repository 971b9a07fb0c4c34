package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// diskMargin is left free beside what a download needs, in bytes.
const diskMargin = 64 << 20

// hub brings what the folder lacks of the revision. What is complete there, but
// of another commit, stays whole until the new state has arrived.
func (f *fetch) hub(ctx context.Context, t *target, held bool) (*Result, error) {
	workers := f.r.Workers
	if workers == 0 {
		workers = defaultWorkers
	}
	c, err := newClient(f.s, workers)
	if err != nil {
		return nil, err
	}
	defer c.close()
	d := &download{c: c, t: t, m: f.m, slots: make(chan struct{}, workers), piece: f.s.hooks.piece}
	if d.piece <= 0 {
		d.piece = rangeBytes
	}
	f.m.phase(Listing)
	l, err := c.list(ctx, f.r.Repo, f.rev)
	if err != nil {
		return nil, err
	}
	if !held && !f.r.Verify {
		if dir, commit := f.s.cached(f.r.Repo, l.commit, f.r.Kind); dir != "" {
			return &Result{Dir: dir, Commit: commit, Source: "cache"}, nil
		}
	}
	items, base, err := f.plan(ctx, d, l)
	if err != nil {
		return nil, err
	}
	want := f.manifest(items, l, base)
	f.m.phase(Checking)
	todo, err := f.missing(ctx, t, items)
	if err != nil {
		return nil, err
	}
	if err := f.room(d, todo); err != nil {
		return nil, err
	}
	have, _ := ReadManifest(f.r.Dir)
	want.Replaces = replaces(have, want)
	complete := Complete(f.r.Dir, f.r.Kind) == nil
	install := func(it *item) error { return t.install(it.name, it.from.commit, it.entry) }
	switch {
	case len(todo) == 0 && sameManifest(have, want):
	case complete:
		// Nothing is replaced before everything is there.
		f.m.phase(Downloading)
		if err := d.files(ctx, todo, func(*item) error { return nil }); err != nil {
			return nil, err
		}
		if err := t.writeManifest(want, l); err != nil {
			return nil, err
		}
		for _, it := range todo {
			if err := install(it); err != nil {
				return nil, fmt.Errorf("%s: %w", it.name, err)
			}
		}
	default:
		f.m.phase(Downloading)
		if err := t.writeManifest(want, l); err != nil {
			return nil, err
		}
		if err := d.files(ctx, todo, install); err != nil {
			return nil, err
		}
	}
	t.sweep(want)
	if _, err := inspect(f.r.Dir, f.r.Kind, "", ""); err != nil {
		return nil, err
	}
	return &Result{Dir: f.r.Dir, Commit: l.commit, Source: "hub", Bytes: f.m.bytes(), Files: len(items)}, nil
}

// plan chooses the files and learns what they are.
func (f *fetch) plan(ctx context.Context, d *download, l *listing) (items []*item, base *listing, err error) {
	sel, raws, err := f.choose(ctx, d, l, "", func(src source) (*selection, error) {
		return selectFiles(src, f.r.Kind, f.r.Variant)
	})
	if err != nil {
		return nil, nil, err
	}
	if items, err = f.items(ctx, d, l, sel, "", raws); err != nil || sel.base == "" {
		return items, nil, err
	}
	if base, err = d.c.list(ctx, sel.base, "main"); err != nil {
		return nil, nil, fmt.Errorf("the encoder's repository: %w", err)
	}
	sel, raws, err = f.choose(ctx, d, base, baseDir+"/", func(src source) (*selection, error) { return selectBase(src), nil })
	if err != nil {
		return nil, nil, err
	}
	more, err := f.items(ctx, d, base, sel, baseDir+"/", raws)
	return append(items, more...), base, err
}

// choose selects from a listing; the settings files that decide are brought
// into memory.
func (f *fetch) choose(ctx context.Context, d *download, l *listing, prefix string, choose func(source) (*selection, error)) (*selection, map[string][]byte, error) {
	raws := map[string][]byte{}
	sel, err := choose(newListed(l.files, func(name string) ([]byte, error) {
		if raw, ok := raws[name]; ok {
			return raw, nil
		}
		it, err := f.item(ctx, d, l, name, prefix)
		if err != nil {
			return nil, err
		}
		raw, err := f.settings(ctx, d, it)
		raws[name] = raw
		return raw, err
	}))
	switch {
	case err != nil:
		return nil, nil, err
	case sel.adapter:
		return nil, nil, fmt.Errorf("%w: %s has adapter_config.json but no weights: merge it into its base model and serve that", ErrAdapter, l.repo)
	case len(sel.missing) > 0:
		return nil, nil, fmt.Errorf("%w: the repository %s has no %s", ErrIncomplete, l.repo, strings.Join(sel.missing, ", no "))
	}
	return sel, raws, nil
}

// settings is the content of a file that decides: the one on disk, if it is
// that of the listing.
func (f *fetch) settings(ctx context.Context, d *download, it *item) ([]byte, error) {
	if raw, err := diskSource(d.t.dir).read(it.name); err == nil && int64(len(raw)) == it.entry.Size {
		h := newHash(it.entry.etag(), it.entry.Size)
		h.Write(raw)
		if sum(h) == it.entry.etag() {
			return raw, nil
		}
	}
	raw, err := d.small(ctx, it)
	f.m.extra(int64(len(raw)))
	return raw, err
}

// item is one file of a listing, whose size and hash a simple mirror tells only
// when asked for it.
func (f *fetch) item(ctx context.Context, d *download, l *listing, name, prefix string) (*item, error) {
	if why := unfitName(name); why != "" {
		return nil, fmt.Errorf("%w: the name %q %s", ErrListing, clip(name), why)
	}
	e := l.files[name]
	if e.Size < 0 {
		var err error
		if e, err = d.c.head(ctx, l, name); err != nil {
			return nil, err
		}
		l.files[name] = e
	}
	return &item{name: prefix + name, file: name, from: l, entry: e}, nil
}

func (f *fetch) items(ctx context.Context, d *download, l *listing, sel *selection, prefix string, raws map[string][]byte) ([]*item, error) {
	var items []*item
	folded := map[string]string{} // some file systems do not tell upper case from lower
	for i, name := range sel.all() {
		it, err := f.item(ctx, d, l, name, prefix)
		need := i < len(sel.need)
		if errors.Is(err, ErrNotFound) && !need {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !need && it.entry.Size > maxSettings { // data, not a setting
			continue
		}
		if other, ok := folded[strings.ToLower(name)]; ok {
			return nil, fmt.Errorf("%w: %q and %q differ only in case", ErrListing, clip(other), clip(name))
		}
		folded[strings.ToLower(name)] = name
		it.need, it.raw = need, raws[name]
		items = append(items, it)
	}
	return items, nil
}

func (f *fetch) manifest(items []*item, l, base *listing) *Manifest {
	m := &Manifest{Version: 1, Repo: f.r.Repo, Revision: f.rev, Commit: l.commit, Kind: f.r.Kind, Variant: f.r.Variant, Files: map[string]ManifestFile{}}
	if base != nil {
		m.BaseRepo, m.BaseSHA = base.repo, base.commit
	}
	for _, it := range items {
		m.Files[it.name] = ManifestFile{Size: it.entry.Size, ETag: it.entry.etag(), Need: it.need}
	}
	return m
}

func sameManifest(a, b *Manifest) bool {
	if a == nil || len(a.Files) != len(b.Files) {
		return false
	}
	for name, f := range a.Files {
		if b.Files[name] != f {
			return false
		}
	}
	return a.Repo == b.Repo && a.Revision == b.Revision && a.Commit == b.Commit && a.Kind == b.Kind &&
		a.Variant == b.Variant && a.BaseRepo == b.BaseRepo && a.BaseSHA == b.BaseSHA
}

// missing are the items that the folder does not hold.
func (f *fetch) missing(ctx context.Context, t *target, items []*item) ([]*item, error) {
	total := int64(0)
	for _, it := range items {
		total += it.entry.Size
	}
	f.m.total(len(items), total)
	var todo []*item
	for _, it := range items {
		ok, err := t.current(ctx, it.name, it.from.commit, it.entry, f.r.Verify)
		if err != nil {
			return nil, err
		}
		if !ok {
			todo = append(todo, it)
			continue
		}
		f.m.there(it.entry.Size)
		f.m.done(it.name)
	}
	return todo, nil
}

// room checks the free space for what is still to come.
func (f *fetch) room(d *download, todo []*item) error {
	t := d.t
	need := int64(0)
	for _, it := range todo {
		need += it.entry.Size
		if _, err := t.root.Lstat(partialName(it.name, it.entry.etag()) + journalEnd); err == nil {
			p, err := t.openPartial(it.name, it.entry, d.piece)
			if err != nil {
				return err
			}
			need -= p.there()
			p.close()
		}
	}
	if need == 0 {
		return nil
	}
	find := f.s.hooks.free
	if find == nil {
		find = freeSpace
	}
	free, err := find(t.dir)
	if err != nil { // a file system that does not tell will tell when it is full
		return nil
	}
	if uint64(need)+diskMargin > free {
		return fmt.Errorf("%w: %s needs %s more in %s, and %s are free (%s stay free)",
			ErrDisk, f.r.Repo, readable(need), t.dir, readable(int64(min(free, 1<<62))), readable(diskMargin))
	}
	return nil
}

// readable writes bytes as a person would.
func readable(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d bytes", n)
}

func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}
