package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	spec "github.com/opencontainers/image-spec/specs-go/v1"
)

// repository is the image's name where none is given.
const repository = "remote-client-server"

// tagged is the grammar of tags (distribution-spec).
var tagged = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// archive is an image with one manifest.
type archive struct {
	tag, packages string

	layers   []spec.Descriptor
	history  []spec.History
	diffs    []digest.Digest // of the layers before compression
	whole    int64           // bytes of the layers before compression
	config   spec.Descriptor
	manifest spec.Descriptor
	files    map[string][]byte // of the layout, by path
}

// size is what the layers take, packed and unpacked, in bytes.
func (a *archive) size() (packed, whole int64) {
	for _, l := range a.layers {
		packed += l.Size
	}
	return packed, a.whole
}

// blob adds content under its digest.
func (a *archive) blob(media string, b []byte) spec.Descriptor {
	d := spec.Descriptor{MediaType: media, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if a.files == nil {
		a.files = map[string][]byte{}
	}
	a.files[blobPath(d.Digest)] = b
	return d
}

func blobPath(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

// add makes a tree the next layer.
func (a *archive) add(t tree, from string, when time.Time) error {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression) // its header has no time and no name
	if err != nil {
		return err
	}
	sum := sha256.New()
	count := &counter{}
	if err := t.tar(io.MultiWriter(z, sum, count), when); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	a.layers = append(a.layers, a.blob(spec.MediaTypeImageLayerGzip, packed.Bytes()))
	a.diffs = append(a.diffs, digest.NewDigest(digest.SHA256, sum))
	a.history = append(a.history, spec.History{Created: &when, CreatedBy: from})
	a.whole += count.n
	return nil
}

// counter counts the bytes written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// seal adds the configuration, the manifest and the index.
func (a *archive) seal(o options) error {
	c := spec.Image{
		Created:  &o.epoch,
		Platform: spec.Platform{OS: "linux", Architecture: o.arch},
		Config:   runConfig(o, a.packages),
		RootFS:   spec.RootFS{Type: "layers", DiffIDs: a.diffs},
		History:  a.history,
	}
	var err error
	if a.config, err = a.object(spec.MediaTypeImageConfig, c); err != nil {
		return err
	}
	version := specs.Versioned{SchemaVersion: 2}
	if a.manifest, err = a.object(spec.MediaTypeImageManifest, spec.Manifest{
		Versioned: version, MediaType: spec.MediaTypeImageManifest, Config: a.config, Layers: a.layers,
	}); err != nil {
		return err
	}
	m := a.manifest
	m.Platform = &c.Platform
	name := repository + ":" + a.tag
	m.Annotations = map[string]string{
		spec.AnnotationRefName:     a.tag,
		"io.containerd.image.name": "docker.io/library/" + name,
	}
	if err := a.json(spec.ImageIndexFile, spec.Index{Versioned: version, MediaType: spec.MediaTypeImageIndex, Manifests: []spec.Descriptor{m}}); err != nil {
		return err
	}
	if err := a.json(spec.ImageLayoutFile, spec.ImageLayout{Version: spec.ImageLayoutVersion}); err != nil {
		return err
	}
	// What docker load reads where it does not know the OCI layout.
	older := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blobPath(a.config.Digest), RepoTags: []string{name}}
	for _, l := range a.layers {
		older.Layers = append(older.Layers, blobPath(l.Digest))
	}
	return a.json("manifest.json", []any{older})
}

func (a *archive) object(media string, v any) (spec.Descriptor, error) {
	b, err := json.Marshal(v)
	return a.blob(media, b), err
}

func (a *archive) json(name string, v any) error {
	b, err := json.Marshal(v)
	a.files[name] = b
	return err
}

// write puts the layout into a tar file, which appears whole or not at all.
func (a *archive) write(name string) error {
	t := tree{}
	for _, file := range slices.Sorted(maps.Keys(a.files)) {
		t.file(file, 0o644, a.files[file])
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = t.tar(f, time.Unix(0, 0).UTC())
	if err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
