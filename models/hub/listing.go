package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Bounds of a listing.
const (
	maxPage  = 32 << 20 // bytes of one JSON answer
	maxPages = 10_000
	maxFiles = 1_000_000
	maxNames = 128 << 20 // bytes of all names
	maxSize  = 1 << 46   // bytes of one file: 64 TiB
)

// entry is a file of a repository.
type entry struct {
	Size int64 // -1 where only a HEAD can tell
	Blob string
	LFS  string // SHA-256 of the content, "" for a file that git itself holds
	Xet  string // kept for other clients of the records
}

// etag names the content: SHA-256 of an LFS file, else the git blob id.
func (e entry) etag() string {
	if e.LFS != "" {
		return e.LFS
	}
	return e.Blob
}

// listing is a repository at one commit.
type listing struct {
	repo, commit string
	files        map[string]entry
	names        int  // bytes of all names
	whole        bool // with sizes and ids of every file, by /tree
}

// list resolves a revision and lists its files.
func (c *client) list(ctx context.Context, repo, rev string) (*listing, error) {
	l := &listing{repo: repo, commit: rev}
	var siblings []string
	if !isCommit(rev) {
		var err error
		if l.commit, siblings, err = c.resolveRevision(ctx, repo, rev); err != nil {
			return nil, err
		}
	}
	err := c.tree(ctx, l)
	var refused *answerError
	if errors.As(err, &refused) && !refused.coded && (refused.status == http.StatusNotFound || refused.status == http.StatusMethodNotAllowed) {
		// A simple mirror: names from the first call, sizes by HEAD.
		if siblings == nil {
			if _, siblings, err = c.resolveRevision(ctx, repo, l.commit); err != nil {
				return nil, err
			}
		}
		l.files = make(map[string]entry, len(siblings))
		for _, name := range siblings {
			if err := l.add(name, entry{Size: -1}); err != nil {
				return nil, err
			}
		}
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	l.whole = true
	return l, nil
}

// resolveRevision asks for the commit of a revision and the names of its files.
func (c *client) resolveRevision(ctx context.Context, repo, rev string) (commit string, names []string, err error) {
	u := c.api(repo)
	if rev != "main" {
		u = c.api(repo, "/revision/", url.PathEscape(rev))
	}
	raw, ans, err := c.json(ctx, ask{url: u, repo: repo}, maxPage)
	if err != nil {
		return "", nil, err
	}
	var info struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(raw, &info); err != nil || !isCommit(info.SHA) {
		return "", nil, fmt.Errorf("%w: %s does not name a commit", ErrNotHub, where(ans.at))
	}
	if len(info.Siblings) > maxFiles {
		return "", nil, fmt.Errorf("%w: more than %d files", ErrListing, maxFiles)
	}
	names = make([]string, len(info.Siblings))
	for i, s := range info.Siblings {
		names[i] = s.Name
	}
	return info.SHA, names, nil
}

// tree lists the files page by page.
func (c *client) tree(ctx context.Context, l *listing) error {
	l.files = map[string]entry{}
	u := c.api(l.repo, "/tree/", l.commit)
	u.RawQuery = "recursive=true&expand=false"
	seen := map[string]bool{}
	for range maxPages {
		if seen[u.String()] {
			return fmt.Errorf("%w: its pages go round in a circle", ErrListing)
		}
		seen[u.String()] = true
		raw, ans, err := c.json(ctx, ask{url: u, repo: l.repo}, maxPage)
		if err != nil {
			return err
		}
		if err := l.page(raw); err != nil {
			return err
		}
		link := nextLink(ans.Header.Values("Link"))
		if link == "" {
			return nil
		}
		next, err := ans.at.Parse(link)
		if err != nil || next.Scheme != "http" && next.Scheme != "https" {
			return fmt.Errorf("%w: the next page is at no URL", ErrListing)
		}
		u = next
	}
	return fmt.Errorf("%w: more than %d pages", ErrListing, maxPages)
}

// page adds one page of /tree.
func (l *listing) page(raw []byte) error {
	var page []struct {
		Type, OID, Path string
		Size            int64
		XetHash         string
		LFS             *struct {
			OID  string
			Size int64
		}
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return fmt.Errorf("%w: a page is no list of files", ErrListing)
	}
	for _, p := range page {
		if p.Type != "file" {
			if why := unsafeName(p.Path); why != "" {
				return fmt.Errorf("%w: the name %q %s", ErrListing, clip(p.Path), why)
			}
			continue
		}
		e := entry{Size: p.Size, Blob: p.OID, Xet: p.XetHash}
		if p.LFS != nil {
			e.LFS, e.Size = p.LFS.OID, p.LFS.Size
			if len(e.LFS) != 64 || !isHex(e.LFS) {
				return fmt.Errorf("%w: %q has no SHA-256", ErrListing, clip(p.Path))
			}
		}
		if e.LFS == "" && (len(e.Blob) != 40 || !isHex(e.Blob)) {
			return fmt.Errorf("%w: %q has no git blob id", ErrListing, clip(p.Path))
		}
		if e.Size < 0 || e.Size > maxSize {
			return fmt.Errorf("%w: %q has %d bytes", ErrListing, clip(p.Path), e.Size)
		}
		if err := l.add(p.Path, e); err != nil {
			return err
		}
	}
	return nil
}

// add adds a file; an unsafe name is refused with the whole listing.
func (l *listing) add(name string, e entry) error {
	if why := unsafeName(name); why != "" {
		return fmt.Errorf("%w: the name %q %s", ErrListing, clip(name), why)
	}
	if l.names += len(name); len(l.files) >= maxFiles || l.names > maxNames {
		return fmt.Errorf("%w: more than %d files, or %d bytes of names", ErrListing, maxFiles, maxNames)
	}
	l.files[name] = e
	return nil
}

// head learns the size and the id of one file of a listing that has none.
func (c *client) head(ctx context.Context, l *listing, name string) (entry, error) {
	ans, err := c.do(ctx, ask{method: http.MethodHead, url: c.resolve(l.repo, l.commit, name), repo: l.repo, stop: true})
	if err != nil {
		return entry{}, fmt.Errorf("%s: %w", name, err)
	}
	ans.Body.Close()
	if err := checkCommit(ans, l.commit); err != nil {
		return entry{}, fmt.Errorf("%s: %w", name, err)
	}
	h := ans.Header
	size := h.Get("X-Linked-Size")
	if size == "" && ans.StatusCode < 300 {
		size = h.Get("Content-Length")
	}
	e := entry{}
	if e.Size, err = strconv.ParseInt(size, 10, 64); err != nil || e.Size < 0 || e.Size > maxSize {
		return entry{}, fmt.Errorf("%w: %s: the answer tells no size", ErrNotHub, name)
	}
	id := h.Get("X-Linked-Etag")
	if id == "" {
		id = h.Get("ETag")
	}
	id = strings.Trim(strings.TrimPrefix(strings.TrimSpace(id), "W/"), `"`)
	switch {
	case len(id) == 64 && isHex(id):
		e.LFS = id
	case len(id) == 40 && isHex(id):
		e.Blob = id
	default:
		return entry{}, fmt.Errorf("%w: %s: the answer tells no hash (ETag)", ErrNotHub, name)
	}
	return e, nil
}

// checkCommit tells a Hub's answer about a file from anything else.
func checkCommit(ans *answer, commit string) error {
	switch ans.commit {
	case commit:
		return nil
	case "":
		return fmt.Errorf("%w: %s answers without X-Repo-Commit; is there a captive portal or a proxy between?", ErrNotHub, where(ans.at))
	}
	return fmt.Errorf("%w: %s answers for another commit", ErrNotHub, where(ans.at))
}
