package hub

import (
	"os"
	"path/filepath"
	"strings"
)

// cacheRepo is a repository's folder in the Hub cache.
func (s Settings) cacheRepo(repo string) string {
	if s.Cache == "" {
		return ""
	}
	return filepath.Join(s.Cache, "models--"+strings.ReplaceAll(repo, "/", "--"))
}

// cached is the complete snapshot of a revision in the Hub cache; "" where
// there is none. Nothing is ever written into the cache.
func (s Settings) cached(repo, rev, kind string) (dir, commit string) {
	at := s.cacheRepo(repo)
	if at == "" {
		return "", ""
	}
	if commit = rev; !isCommit(rev) {
		raw, err := diskSource(at).read("refs/" + rev)
		if commit = strings.TrimSpace(string(raw)); err != nil || !isCommit(commit) {
			return "", ""
		}
	}
	dir = filepath.Join(at, "snapshots", commit)
	if _, err := inspect(dir, kind, at, commit); err != nil {
		return "", ""
	}
	return dir, commit
}

// blobID is the content id that a file of a snapshot claims: the name of the
// blob that it links to, or "".
func blobID(file string) string {
	to, err := os.Readlink(file)
	if err != nil {
		return ""
	}
	if id := filepath.Base(to); (len(id) == 40 || len(id) == 64) && isHex(id) {
		return id
	}
	return ""
}
