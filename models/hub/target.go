package hub

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// target is the folder that a download writes into. Everything goes through an
// os.Root, which nothing leaves; and inside it no link is followed.
type target struct {
	dir  string
	root *os.Root
	now  func() time.Time
}

// openTarget makes the folder and its records.
func openTarget(dir string, now func() time.Time) (*target, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	t := &target{dir, root, now}
	if err := t.mkdirs(downloadDir); err != nil {
		root.Close()
		return nil, err
	}
	for name, text := range map[string]string{
		recordsDir + "/.gitignore": "*",
		recordsDir + "/CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n" +
			"# A cache directory by the Cache Directory Tagging Standard, https://bford.info/cachedir/\n",
	} {
		if _, err := root.Lstat(name); err != nil {
			if err := t.write(name, []byte(text)); err != nil {
				root.Close()
				return nil, err
			}
		}
	}
	return t, nil
}

func (t *target) close() { t.root.Close() }

// failed is an error of writing: a full disk, or a folder that cannot be
// written.
func (t *target) failed(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrFolder), errors.Is(err, ErrDisk):
		return err
	case diskFull(err):
		return fmt.Errorf("%w: %s: %w", ErrDisk, t.dir, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrFolder, t.dir, err)
}

// mkdirs makes a folder inside and refuses a way through a link.
func (t *target) mkdirs(name string) error {
	at := ""
	for _, part := range strings.Split(name, "/") {
		at = path.Join(at, part)
		info, err := t.root.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			err = t.root.Mkdir(at, 0o755)
			if errors.Is(err, fs.ErrExist) {
				err = nil
			}
			if err == nil {
				info, err = t.root.Lstat(at)
			}
		}
		if err != nil {
			return t.failed(err)
		}
		if !info.IsDir() {
			return fmt.Errorf("%w: %s is no folder but a file or a link: nothing is written through it", ErrFolder, filepath.Join(t.dir, at))
		}
	}
	return nil
}

// open opens a file for writing; a link in its place is removed, not followed.
func (t *target) open(name string) (*os.File, error) {
	if info, err := t.root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		if err := t.root.Remove(name); err != nil {
			return nil, t.failed(err)
		}
	}
	f, err := t.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	return f, t.failed(err)
}

// write writes a small file and renames it into place.
func (t *target) write(name string, content []byte) error {
	if dir := path.Dir(name); dir != "." {
		if err := t.mkdirs(dir); err != nil {
			return err
		}
	}
	tmp := downloadDir + "/" + shortHash(name) + ".tmp"
	if path.Dir(name) == recordsDir { // while the records are being made
		tmp = name + ".tmp"
	}
	f, err := t.open(tmp)
	if err != nil {
		return err
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = f.Sync()
	}
	return t.place(f, tmp, name, err)
}

// place closes a written file and renames it into place, a link or older file
// there being replaced; then the folder is on disk too.
func (t *target) place(f *os.File, tmp, name string, err error) error {
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = t.root.Rename(tmp, name)
	}
	if err != nil {
		return t.failed(err)
	}
	if dir, err := t.root.Open(path.Dir(name)); err == nil {
		_ = dir.Sync() // not every file system can
		dir.Close()
	}
	return nil
}

// record writes a file's metadata. Its time is never before the file's own,
// even if the file system's clock is ahead of this machine's: otherwise the
// record would look older than the file and be void.
func (t *target) record(name, commit, etag string) error {
	at := t.now()
	info, err := t.root.Lstat(name)
	if err != nil {
		return t.failed(err)
	}
	if m := info.ModTime(); m.After(at) {
		at = m
	}
	text := fmt.Sprintf("%s\n%s\n%.6f\n", commit, etag, float64(at.UnixMicro())/1e6)
	return t.write(metadataName(name), []byte(text))
}

// current says whether a file is there with the content of an etag. Without a
// record that counts, or to verify, the content is hashed, and the record made.
func (t *target) current(ctx context.Context, name, commit string, e entry, verify bool) (bool, error) {
	info, err := t.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != e.Size {
		return false, nil
	}
	m, known := readMetadata(t.dir, name)
	if known && m.etag != e.etag() {
		return false, nil
	}
	if !known || verify {
		same, err := hashFile(ctx, filepath.Join(t.dir, filepath.FromSlash(name)), e.etag())
		if !same || err != nil {
			return false, err
		}
	}
	if !known || m.commit != commit {
		return true, t.record(name, commit, e.etag())
	}
	return true, nil
}

// writeManifest writes the manifest and, of a whole listing, the record that
// newer clients of the Hub read.
func (t *target) writeManifest(m *Manifest, l *listing) error {
	raw, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if l.whole {
		if err := t.write(recordsDir+"/trees/"+l.commit+".json", encodeTree(l)); err != nil {
			return err
		}
	}
	return t.write(manifestName, raw)
}

// replaces are the files of an old state that the new one lacks. Another kind
// may want other files of the same repository, which stay.
func replaces(old, now *Manifest) map[string]string {
	if old == nil {
		return nil
	}
	gone := map[string]string{}
	for name, etag := range old.Replaces {
		gone[name] = etag
	}
	if old.Repo != now.Repo || old.Kind == now.Kind {
		for name, f := range old.Files {
			gone[name] = f.ETag
		}
	}
	for name := range now.Files {
		delete(gone, name)
	}
	return gone
}

// sweep removes what earlier downloads left: what the manifest replaces,
// weights of a commit before that would be taken instead of the manifest's,
// and partial files. A file that is not as it was downloaded stays.
func (t *target) sweep(m *Manifest) {
	remove := func(name, etag string) bool {
		r, ok := readMetadata(t.dir, name)
		if !ok || etag != "" && r.etag != etag {
			return false
		}
		err := t.root.Remove(name)
		_ = t.root.Remove(metadataName(name))
		return err == nil
	}
	for name, etag := range m.Replaces {
		remove(name, etag)
	}
	for again := true; again; { // each round removes a file
		again = false
		sel, err := selectFiles(diskSource(t.dir), m.Kind, m.Variant)
		if err != nil {
			break
		}
		for _, name := range sel.need {
			if _, ours := m.Files[name]; !ours && isWeights(name) && remove(name, "") {
				again = true
			}
		}
	}
	dir, err := t.root.Open(downloadDir)
	if err != nil {
		return
	}
	names, _ := dir.Readdirnames(-1)
	dir.Close()
	for _, name := range names {
		if strings.HasSuffix(name, partialEnd) || strings.HasSuffix(name, journalEnd) {
			_ = t.root.Remove(downloadDir + "/" + name)
		}
	}
}

// lock opens the file by which processes take turns.
func (t *target) lock(ctx context.Context) (release func(), err error) {
	f, err := t.open(downloadDir + "/.lock")
	if err != nil {
		return nil, err
	}
	return lock(ctx, f, t.dir)
}

// shortHash is how the Hub's own client shortens a name.
func shortHash(name string) string {
	h := sha1.Sum([]byte(name))
	return base64.URLEncoding.EncodeToString(h[:])
}
