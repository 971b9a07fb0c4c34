package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The records beside the files, in the layout of huggingface_hub's local_dir.
const (
	recordsDir   = ".cache/huggingface"
	downloadDir  = recordsDir + "/download"
	manifestName = recordsDir + "/manifest.json" // ours
	baseDir      = "base"                        // of a GLiNER's encoder
)

// Manifest is what a download into a folder was to bring. It is written before
// the first file of a fresh folder, so that an interrupted download is known
// as one.
type Manifest struct {
	Version  int                     `json:"format_version"` // 1
	Repo     string                  `json:"repo"`
	Revision string                  `json:"revision"` // as it was asked for
	Commit   string                  `json:"commit"`
	Kind     string                  `json:"kind"`
	Variant  string                  `json:"variant,omitempty"`
	BaseRepo string                  `json:"base_repo,omitempty"` // of the files below base/
	BaseSHA  string                  `json:"base_commit,omitempty"`
	Files    map[string]ManifestFile `json:"files"` // by name below the folder
	// Replaces are files of the state before, with their etags, that this one
	// has not: they go once it is whole.
	Replaces map[string]string `json:"replaces,omitempty"`
}

// ManifestFile is one file of a manifest.
type ManifestFile struct {
	Size int64  `json:"size"`
	ETag string `json:"etag"`           // SHA-256 (64 hex digits) or git blob id (40) of the content
	Need bool   `json:"need,omitempty"` // to load the model
}

// ReadManifest reads the manifest of a folder; fs.ErrNotExist where there is
// none, as in a folder made by hand.
func ReadManifest(dir string) (*Manifest, error) {
	raw, err := diskSource(dir).read(manifestName)
	if err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(raw, m); err != nil || m.Version != 1 {
		return nil, fmt.Errorf("%s: no manifest of a known form", manifestName)
	}
	for name := range m.Replaces {
		if _, both := m.Files[name]; both || unsafeName(name) != "" {
			return nil, fmt.Errorf("%s: the name %q cannot be replaced", manifestName, clip(name))
		}
	}
	for name := range m.Files {
		if why := unsafeName(name); why != "" {
			return nil, fmt.Errorf("%s: the name %q %s", manifestName, clip(name), why)
		}
	}
	return m, nil
}

// diskSource is a folder on disk as a source. Links are followed: files of a
// snapshot in the Hub cache are links.
type diskSource string

func (d diskSource) path(name string) string {
	return filepath.Join(string(d), filepath.FromSlash(name))
}

func (d diskSource) has(name string) bool {
	info, err := os.Stat(d.path(name))
	return err == nil && info.Mode().IsRegular()
}

// below reads at most 8 levels and 10,000 names: a folder by hand may hold
// anything.
func (d diskSource) below(folder string) []string {
	var names []string
	var walk func(at string, depth int)
	walk = func(at string, depth int) {
		entries, err := os.ReadDir(d.path(at))
		if err != nil {
			return
		}
		for _, e := range entries {
			name := path.Join(at, e.Name())
			switch {
			case len(names) >= 10_000:
				return
			case e.IsDir():
				if folder != "" && depth < 8 {
					walk(name, depth+1)
				}
			case d.has(name):
				names = append(names, name)
			}
		}
	}
	walk(folder, 0)
	slices.Sort(names)
	return names
}

func (d diskSource) read(name string) ([]byte, error) {
	info, err := os.Stat(d.path(name))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSettings { // opening a pipe would wait for a writer
		return nil, fmt.Errorf("%w: %s is no regular file of at most %d bytes", ErrIncomplete, name, maxSettings)
	}
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSettings))
}

// listed is a listing as a source whose settings are read on disk: what the
// files of a folder would have to be.
type listed struct {
	names []string // sorted
	files map[string]entry
	get   func(name string) ([]byte, error)
}

func newListed(files map[string]entry, get func(string) ([]byte, error)) *listed {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return &listed{names, files, get}
}

func (l *listed) has(name string) bool             { _, ok := l.files[name]; return ok }
func (l *listed) read(name string) ([]byte, error) { return l.get(name) }

func (l *listed) below(folder string) []string {
	var found []string
	if folder == "" {
		for _, name := range l.names {
			if !strings.Contains(name, "/") {
				found = append(found, name)
			}
		}
		return found
	}
	i, _ := slices.BinarySearch(l.names, folder+"/")
	for ; i < len(l.names) && strings.HasPrefix(l.names[i], folder+"/"); i++ {
		found = append(found, l.names[i])
	}
	return found
}

// metadata is the record of one file: which content it had when.
type metadata struct {
	commit, etag string
	at           time.Time
}

func metadataName(name string) string { return downloadDir + "/" + name + ".metadata" }

// readMetadata reads a file's record. It counts only if the file was not
// written since, with a second of tolerance for coarse clocks.
func readMetadata(dir, name string) (metadata, bool) {
	raw, err := diskSource(dir).read(metadataName(name))
	if err != nil {
		return metadata{}, false
	}
	lines := strings.Split(string(raw), "\n")
	if len(lines) < 3 {
		return metadata{}, false
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(lines[2]), 64)
	if err != nil || !(seconds >= 0 && seconds < 1e11) {
		return metadata{}, false
	}
	m := metadata{strings.TrimSpace(lines[0]), strings.TrimSpace(lines[1]), time.Unix(0, 0).Add(time.Duration(seconds * 1e9))}
	if seconds > 9e9 { // beyond what a Duration holds; any file is older
		m.at = time.Unix(int64(seconds), 0)
	}
	info, err := os.Stat(diskSource(dir).path(name))
	if err != nil || info.ModTime().Add(-time.Second).After(m.at) {
		return metadata{}, false
	}
	return m, true
}

// tree is the tree record of newer clients.
type tree struct {
	Version int                  `json:"format_version"`
	Files   map[string]treeEntry `json:"files"`
}

type treeEntry struct {
	Size    int64  `json:"size"`
	BlobID  string `json:"blob_id"`
	SHA256  string `json:"lfs_sha256,omitempty"`
	LFSSize *int64 `json:"lfs_size,omitempty"`
	Xet     string `json:"xet_hash,omitempty"`
}

// readTree reads the recorded listing of a commit, nil where there is none.
// folder is .cache/huggingface of a model's folder, or a repository in the
// Hub cache.
func readTree(folder, commit string) map[string]entry {
	if !isCommit(commit) {
		return nil
	}
	raw, err := diskSource(folder).read("trees/" + commit + ".json")
	if err != nil {
		return nil
	}
	var t tree
	if json.Unmarshal(raw, &t) != nil || t.Version != 1 {
		return nil
	}
	files := make(map[string]entry, len(t.Files))
	for name, e := range t.Files {
		if unsafeName(name) != "" {
			return nil
		}
		size := e.Size
		if e.LFSSize != nil {
			size = *e.LFSSize
		}
		files[name] = entry{Size: size, Blob: e.BlobID, LFS: e.SHA256, Xet: e.Xet}
	}
	return files
}

// encodeTree is the record of a listing.
func encodeTree(l *listing) []byte {
	t := tree{Version: 1, Files: make(map[string]treeEntry, len(l.files))}
	for name, e := range l.files {
		te := treeEntry{Size: e.Size, BlobID: e.Blob, SHA256: e.LFS, Xet: e.Xet}
		if e.LFS != "" {
			te.LFSSize = &e.Size
		}
		t.Files[name] = te
	}
	raw, _ := json.MarshalIndent(t, "", " ") // strings and numbers only
	return raw
}

// Complete says whether a folder holds all that a kind of model needs: every
// file of its manifest or listing with the listed size, or without one its
// settings, tokenizer, and weights with all their shards. The error matches
// ErrIncomplete and names what is missing. It asks no network.
func Complete(dir, kind string) error {
	_, err := inspect(dir, kind, "", "")
	return err
}

// inspect is Complete that also returns the folder's manifest, nil where there
// is none. trees and commit say where the recorded listing lies; "" for the
// folder's own.
func inspect(dir, kind, trees, commit string) (*Manifest, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the folder %s does not exist", ErrIncomplete, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s is no folder", ErrFolder, dir)
	}
	d := diskSource(dir)
	m, err := ReadManifest(dir)
	if err != nil {
		m = nil
	}
	sel, err := selectFiles(d, kind, "")
	if err != nil {
		return m, unfit(dir, err)
	}
	var missing []string
	check := func(name string, e entry) {
		if why := d.wrong(name, e); why != "" {
			missing = append(missing, name+why)
		}
	}
	if m != nil && m.Kind == kind {
		for name, f := range m.Files {
			if f.Need {
				check(name, entry{Size: f.Size, Blob: f.ETag})
			}
		}
		for name, etag := range m.Replaces {
			if r, ok := readMetadata(dir, name); ok && r.etag == etag {
				missing = append(missing, name+" (left of another commit)")
			}
		}
	} else {
		missing = sel.missing
		for _, name := range sel.need {
			check(name, entry{Size: -1})
		}
		if sel.base != "" {
			base := selectBase(diskSource(d.path(baseDir)))
			for _, name := range base.missing {
				missing = append(missing, baseDir+"/"+name)
			}
		}
		if trees == "" {
			trees, commit = d.path(recordsDir), d.commit(sel)
		}
		if files := readTree(trees, commit); files != nil && len(missing) == 0 {
			want, err := selectFiles(newListed(files, d.read), kind, "")
			if err != nil {
				return nil, unfit(dir, err)
			}
			if len(want.missing) == 0 { // else the folder holds more than that commit
				for _, name := range want.need {
					check(name, files[name])
				}
			}
		}
	}
	if len(missing) == 0 {
		return m, nil
	}
	if sel.adapter {
		return m, fmt.Errorf("%w: %s: merge it into its base model and serve that", ErrAdapter, dir)
	}
	slices.Sort(missing)
	if n := len(missing); n > 8 {
		missing = append(missing[:8], fmt.Sprintf("and %d more", n-8))
	}
	return m, fmt.Errorf("%w: %s: %s", ErrIncomplete, dir, strings.Join(missing, ", "))
}

// unfit is the error of a folder whose settings cannot be read.
func unfit(dir string, err error) error {
	if errors.Is(err, ErrRequest) || errors.Is(err, ErrIncomplete) {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrIncomplete, dir, err)
}

// commit is the commit of the first settings file with a record.
func (d diskSource) commit(sel *selection) string {
	for _, name := range sel.need {
		if m, ok := readMetadata(string(d), name); ok {
			return m.commit
		}
	}
	return ""
}

// pointer is how the text begins that git leaves in place of a file that was
// not pulled.
var pointer = []byte("version https://git-lfs.github.com/spec/v1")

// wrong says why a file of a folder is not what it should be, or "". A small
// file that was edited since it was recorded is its owner's business.
func (d diskSource) wrong(name string, e entry) string {
	info, err := os.Stat(d.path(name))
	if err != nil || !info.Mode().IsRegular() {
		return " (not there)"
	}
	if isWeights(name) && info.Size() < 1024 && d.begins(name, pointer) {
		return " (a git-lfs pointer instead of the weights: run git lfs pull, or delete it)"
	}
	if strings.HasSuffix(name, ".safetensors") && !d.headed(name, info.Size()) {
		return " (shorter than its own header)"
	}
	if e.Size < 0 {
		return ""
	}
	m, known := readMetadata(string(d), name)
	edited := !known && !isWeights(name)
	if info.Size() != e.Size && !edited {
		return fmt.Sprintf(" (%d of %d bytes)", info.Size(), e.Size)
	}
	if known && e.etag() != "" && m.etag != e.etag() {
		return " (of another commit)"
	}
	return ""
}

func (d diskSource) start(name string, n int) []byte {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, n)
	n, _ = io.ReadFull(f, b)
	return b[:n]
}

func (d diskSource) begins(name string, prefix []byte) bool {
	return bytes.Equal(d.start(name, len(prefix)), prefix)
}

// headed says whether a safetensors file is as long as its header at least: 8
// bytes little endian give the header's length.
func (d diskSource) headed(name string, size int64) bool {
	b := d.start(name, 8)
	if len(b) < 8 {
		return false
	}
	var n uint64
	for i := 7; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n <= uint64(size-8)
}
