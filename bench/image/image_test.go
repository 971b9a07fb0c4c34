package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	spec "github.com/opencontainers/image-spec/specs-go/v1"
)

const testVersion = "1.2.3+test"

var folder string // of the tests' binary

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	folder = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// server is the binary, built as a release is.
func server() (string, error) {
	binary := filepath.Join(folder, "remote-client-server")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+testVersion, "-o", binary, ".")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// lacks ends a test for want of something that continuous integration has.
func lacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// release is the image of the server for this machine.
func release(ctx context.Context) (*archive, error) {
	binary, err := server()
	if err != nil {
		return nil, err
	}
	o := options{binary: binary, version: testVersion, arch: runtime.GOARCH, epoch: time.Unix(0, 0).UTC()}
	if err := o.fromEnv(); err != nil {
		return nil, err
	}
	return assemble(ctx, o)
}

var once = sync.OnceValues(func() (*archive, error) { return release(context.Background()) })

// made is the image that the tests look at.
func made(t *testing.T) *archive {
	t.Helper()
	if runtime.GOOS != "linux" || machines[runtime.GOARCH].triplet == "" {
		t.Skipf("the image is for linux on amd64 or arm64, this is %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacks(t, "no "+tool+": the image cannot be assembled")
		}
	}
	a, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// read is the content of a written archive, by path.
func read(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if files[h.Name], err = io.ReadAll(tr); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func decode[T any](t *testing.T, b []byte) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}

// TestLayout reads the archive as the specification says: by digests, from the
// index down.
func TestLayout(t *testing.T) {
	a := made(t)
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := a.write(name); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := read(t, f)
	if got := decode[spec.ImageLayout](t, files["oci-layout"]).Version; got != "1.0.0" {
		t.Errorf("oci-layout says version %q", got)
	}
	seen := map[string]bool{"oci-layout": true, "index.json": true, "manifest.json": true}
	blob := func(d spec.Descriptor, media string) []byte {
		path := "blobs/sha256/" + strings.TrimPrefix(string(d.Digest), "sha256:")
		b, ok := files[path]
		switch {
		case !ok:
			t.Fatalf("no %s", path)
		case int64(len(b)) != d.Size:
			t.Errorf("%s has %d bytes, not %d", path, len(b), d.Size)
		case fmt.Sprintf("sha256:%x", sha256.Sum256(b)) != string(d.Digest):
			t.Errorf("%s has another digest", path)
		case d.MediaType != media:
			t.Errorf("%s is of type %s, not %s", path, d.MediaType, media)
		}
		seen[path] = true
		return b
	}
	index := decode[spec.Index](t, files["index.json"])
	if index.SchemaVersion != 2 || len(index.Manifests) != 1 {
		t.Fatalf("index %s", files["index.json"])
	}
	top := index.Manifests[0]
	if got := top.Annotations["org.opencontainers.image.ref.name"]; got != "1.2.3-test" {
		t.Errorf("the image's tag is %q", got)
	}
	manifest := decode[spec.Manifest](t, blob(top, "application/vnd.oci.image.manifest.v1+json"))
	config := decode[spec.Image](t, blob(manifest.Config, "application/vnd.oci.image.config.v1+json"))
	if config.OS != "linux" || config.Architecture != runtime.GOARCH || top.Platform.Architecture != runtime.GOARCH {
		t.Errorf("the image is for %s/%s", config.OS, config.Architecture)
	}
	if n := len(manifest.Layers); n != len(config.RootFS.DiffIDs) || n != len(config.History) {
		t.Fatalf("%d layers, %d digests, %d lines of history", n, len(config.RootFS.DiffIDs), len(config.History))
	}
	for i, l := range manifest.Layers {
		z, err := gzip.NewReader(bytes.NewReader(blob(l, "application/vnd.oci.image.layer.v1.tar+gzip")))
		if err != nil {
			t.Fatal(err)
		}
		sum := digest.Canonical.Digester()
		if _, err := io.Copy(sum.Hash(), z); err != nil {
			t.Fatal(err)
		}
		if sum.Digest() != config.RootFS.DiffIDs[i] {
			t.Errorf("layer %d unpacks to another digest", i)
		}
	}
	for name := range files {
		if !seen[name] {
			t.Errorf("%s belongs to nothing", name)
		}
	}
	if tool, err := exec.LookPath("skopeo"); err == nil {
		if out, err := exec.Command(tool, "inspect", "oci-archive:"+name).CombinedOutput(); err != nil {
			t.Errorf("skopeo: %v\n%s", err, out)
		}
	}
}

func TestSameInputsGiveTheSameImage(t *testing.T) {
	a := made(t)
	b, err := release(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.manifest.Digest != b.manifest.Digest {
		t.Errorf("%s and %s", a.manifest.Digest, b.manifest.Digest)
	}
}

// TestSize holds the promise of at most 100 MB without a model.
func TestSize(t *testing.T) {
	packed, whole := made(t).size()
	t.Logf("%.1f MB, unpacked %.1f MB", float64(packed)/1e6, float64(whole)/1e6)
	if packed > 100e6 || whole > 100e6 {
		t.Errorf("%d bytes, unpacked %d", packed, whole)
	}
}

// TestPermissions: nothing raises privileges, nobody but root changes the
// program, and the server can write where models go.
func TestPermissions(t *testing.T) {
	a := made(t)
	config := decode[spec.Image](t, a.files[blobPath(a.config.Digest)])
	if config.Config.User != "65532:65532" {
		t.Errorf("the server runs as %q", config.Config.User)
	}
	owners := map[string]int{}
	for _, l := range a.layers {
		z, err := gzip.NewReader(bytes.NewReader(a.files[blobPath(l.Digest)]))
		if err != nil {
			t.Fatal(err)
		}
		var last string
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Name <= last || !h.ModTime.Equal(time.Unix(0, 0)) || h.Uname != "" || h.Uid != h.Gid || !fs.ValidPath(strings.TrimSuffix(h.Name, "/")) {
				t.Errorf("header %+v", h)
			}
			last = h.Name
			if h.Mode&0o6000 != 0 {
				t.Errorf("%s is setuid or setgid", h.Name)
			}
			if h.Mode&0o002 != 0 && h.Typeflag != tar.TypeSymlink && (h.Name != "tmp/" || h.Mode != 0o1777) {
				t.Errorf("%s is writable by anyone: %o", h.Name, h.Mode)
			}
			if h.Uid != 0 {
				owners[h.Name] = h.Uid
			}
		}
	}
	if len(owners) != 2 || owners["app/model_files/"] != 65532 || owners["app/model_files/.cache/"] != 65532 {
		t.Errorf("not root's: %v", owners)
	}
}

// TestDockerfileSaysTheSame compares the last stage's instructions with the
// configuration of the archive.
func TestDockerfileSaysTheSame(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string][]string{} // arguments of the last stage, by instruction
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "", "#":
		case "FROM":
			clear(said)
		case "ENV", "LABEL":
			said[word] = append(said[word], strings.Fields(strings.ReplaceAll(rest, `"`, ""))...)
		default:
			said[word] = append(said[word], strings.TrimSpace(rest))
		}
	}
	c := runConfig(options{version: "$VERSION"}, "")
	env := slices.DeleteFunc(slices.Clone(c.Env), func(s string) bool { return strings.HasPrefix(s, "PATH=") }) // the base's
	for word, want := range map[string][]string{
		"USER":       {c.User},
		"ENV":        env,
		"EXPOSE":     {"8888"},
		"VOLUME":     {`["/app/model_files"]`},
		"WORKDIR":    {c.WorkingDir},
		"STOPSIGNAL": {c.StopSignal},
		"ENTRYPOINT": {`["` + c.Entrypoint[0] + `"]`},
	} {
		if !slices.Equal(said[word], want) {
			t.Errorf("%s: the Dockerfile says %q, the archive %q", word, said[word], want)
		}
	}
	for _, label := range said["LABEL"] {
		if name, _, ok := strings.Cut(label, "="); ok && c.Labels[name] == "" {
			t.Errorf("the archive has no label %s", name)
		}
	}
	if _, ok := c.ExposedPorts["8888/tcp"]; !ok {
		t.Errorf("the archive exposes %v", c.ExposedPorts)
	}
}

func TestWhatCannotBecomeAnImage(t *testing.T) {
	note := filepath.Join(t.TempDir(), "note")
	if err := os.WriteFile(note, []byte("not a program"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    options
		want string
	}{
		"an unknown architecture": {options{arch: "riscv64"}, `-arch: "riscv64" is neither amd64 nor arm64`},
		"a version with a slash":  {options{arch: "amd64", version: "a/b"}, `-version: "a/b" is no version`},
		"no binary":               {options{arch: "amd64", version: "1", binary: note + "s"}, "-binary: open"},
	} {
		if _, err := assemble(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	top := tree{}
	top.file(binaryPath, 0o755, []byte("not a program"))
	if err := linked(machines["amd64"], tree{}, top); err == nil || !strings.Contains(err.Error(), "is no program for Linux") {
		t.Errorf("a text as the binary: %v", err)
	}
}

// TestMissingLibraries: a program whose loader or libraries the image lacks
// does not become part of it.
func TestMissingLibraries(t *testing.T) {
	m, ok := machines[runtime.GOARCH]
	shell, err := os.ReadFile("/bin/sh")
	if runtime.GOOS != "linux" || !ok || err != nil {
		t.Skip("no dynamically linked program at hand")
	}
	base, top := tree{}, tree{}
	top.file(binaryPath, 0o755, shell)
	if err := linked(m, base, top); err == nil || !strings.Contains(err.Error(), "loader:") {
		t.Errorf("without a loader: %v", err)
	}
	base.symlink(m.loader, "/usr/lib/ld.so")
	base.dir("usr/lib/ld.so", 0o755, 0)
	if err := linked(m, base, top); err == nil || !strings.Contains(err.Error(), "needs lib") {
		t.Errorf("without libraries: %v", err)
	}
	other := machines["arm64"]
	if runtime.GOARCH == "arm64" {
		other = machines["amd64"]
	}
	if err := linked(other, base, top); err == nil || !strings.Contains(err.Error(), "is built for") {
		t.Errorf("for another machine: %v", err)
	}
}

func TestResolve(t *testing.T) {
	tr := tree{}
	tr.symlink("lib", "usr/lib")
	tr.symlink("usr/lib64/ld.so", "/lib/x/ld.so")
	tr.symlink("usr/lib/up.so", "../lib/x/ld.so")
	tr.symlink("usr/lib/ring", "ring")
	tr.file("usr/lib/x/ld.so", 0o755, nil)
	for name, want := range map[string]string{
		"usr/lib/x/ld.so": "usr/lib/x/ld.so",
		"lib/x/ld.so":     "usr/lib/x/ld.so",
		"usr/lib64/ld.so": "usr/lib/x/ld.so",
		"lib/up.so":       "usr/lib/x/ld.so",
		"lib/x/other.so":  "",
		"usr/lib/ring":    "",
	} {
		got, err := tr.resolve(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestEpoch(t *testing.T) {
	for value, want := range map[string]int64{"": 0, "1700000000": 1700000000} {
		t.Setenv("SOURCE_DATE_EPOCH", value)
		o := options{epoch: time.Unix(0, 0).UTC(), cache: "x"}
		if err := o.fromEnv(); err != nil || o.epoch.Unix() != want {
			t.Errorf("%q: %v, %v", value, o.epoch, err)
		}
	}
	for _, value := range []string{"yesterday", "-1"} {
		t.Setenv("SOURCE_DATE_EPOCH", value)
		if err := new(options).fromEnv(); err == nil {
			t.Errorf("%q is taken", value)
		}
	}
}
