package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// deb is a package of the distribution.
type deb struct {
	name, version string
	control       []byte // its description, as dpkg keeps it
	path          string // of the .deb file
}

// versions lists packages as name=version.
func versions(debs []deb) string {
	var list []string
	for _, d := range debs {
		list = append(list, d.name+"="+d.version)
	}
	return strings.Join(list, " ")
}

// fetch brings packages of an architecture into cache, unless their present
// versions are there. apt-get checks them against the distribution's signed
// lists; what the cache held is checked against the same lists.
func fetch(ctx context.Context, cache, arch string, names []string) ([]deb, error) {
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, errors.New("the base layer is made of Debian or Ubuntu packages, and this machine has no " + tool + "; build the image there, or with the Dockerfile")
		}
	}
	a := &apt{cache: cache, arch: arch}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	found, err := a.find(ctx, names)
	if err != nil {
		return nil, err
	}
	var debs []deb
	for _, f := range found {
		d := deb{name: f.name, path: filepath.Join(cache, f.file)}
		if !f.holds(d.path) {
			os.Remove(d.path)
			if _, err := a.run(ctx, cache, "download", "-q", f.name); err != nil {
				return nil, err
			}
			if !f.holds(d.path) {
				return nil, fmt.Errorf("package %s: %s is not what the lists say", f.name, d.path)
			}
		}
		if d.control, err = exec.CommandContext(ctx, "dpkg-deb", "--field", d.path).Output(); err != nil {
			return nil, fmt.Errorf("package %s: dpkg-deb --field: %w", f.name, err)
		}
		for line := range strings.Lines(string(d.control)) {
			if v, ok := strings.CutPrefix(line, "Version: "); ok {
				d.version = strings.TrimSpace(v)
			}
		}
		debs = append(debs, d)
	}
	return debs, nil
}

// apt calls apt-get, and changes nothing of the system's own state: no
// architecture is added to it and no list of it is renewed.
type apt struct {
	cache, arch string
	own         bool // uses lists of its own, below cache
}

func (a *apt) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	all := []string{"-o", "APT::Architecture=" + a.arch, "-o", "APT::Architectures::=" + a.arch, "-o", "APT::Sandbox::User=root"}
	if a.own {
		state, err := filepath.Abs(filepath.Join(a.cache, "apt-"+a.arch))
		if err != nil {
			return nil, err
		}
		for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
			if err := os.MkdirAll(filepath.Join(state, sub), 0o755); err != nil {
				return nil, err
			}
		}
		all = append(all, "-o", "Dir::State::lists="+state+"/lists", "-o", "Dir::Cache="+state+"/cache")
	}
	cmd := exec.CommandContext(ctx, "apt-get", append(all, args...)...)
	cmd.Dir = dir
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, complaint.Bytes())
	}
	return out.Bytes(), nil
}

// listed is a package as the lists have it.
type listed struct{ name, file, hash string }

// find looks packages up in the system's lists, or in fresh ones where those
// are empty or of another architecture.
func (a *apt) find(ctx context.Context, names []string) ([]listed, error) {
	if a.arch == runtime.GOARCH {
		if found, err := a.look(ctx, names); err == nil {
			return found, nil
		}
	}
	a.own = true
	_, renewed := a.run(ctx, "", "update", "-q") // one source out of order may not matter
	found, err := a.look(ctx, names)
	if err != nil {
		return nil, errors.Join(err, renewed)
	}
	return found, nil
}

// look asks apt-get where it would download from: lines of an address, a file
// name, a size and a hash. A package already in the folder has none, hence the
// empty folder.
func (a *apt) look(ctx context.Context, names []string) ([]listed, error) {
	empty, err := os.MkdirTemp("", "image")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(empty)
	out, err := a.run(ctx, empty, append([]string{"download", "--print-uris", "-q"}, names...)...)
	if err != nil {
		return nil, err
	}
	var found []listed
	for _, name := range names {
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) < 4 || !strings.HasPrefix(f[1], name+"_") {
				continue
			}
			hash, ok := strings.CutPrefix(f[3], "SHA256:")
			if !ok || filepath.Base(f[1]) != f[1] {
				return nil, fmt.Errorf("package %s: apt-get gives no SHA-256: %s", name, line)
			}
			found = append(found, listed{name, f[1], hash})
			break
		}
	}
	if len(found) != len(names) {
		return nil, fmt.Errorf("not all of the packages %s are in the lists for %s", strings.Join(names, ", "), a.arch)
	}
	return found, nil
}

// holds says whether the file is the package that the lists mean.
func (l listed) holds(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == l.hash
}

// maxFile is the size of the largest file taken out of a package, in bytes.
const maxFile = 64 << 20

// each calls take with those files and links of a package that want chooses
// by their paths, which have no leading "./" and are below usr (see merged).
func (d deb) each(ctx context.Context, want func(name string) bool, take func(name string, n node)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", d.path)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = func() error {
		for r := tar.NewReader(pipe); ; {
			h, err := r.Next()
			if err == io.EOF {
				_, err = io.Copy(io.Discard, pipe)
				return err
			}
			if err != nil {
				return err
			}
			name := merged(strings.TrimPrefix(h.Name, "./"))
			if !slices.Contains([]byte{tar.TypeReg, tar.TypeSymlink}, h.Typeflag) || !want(name) {
				continue
			}
			if h.Size > maxFile {
				return fmt.Errorf("/%s has %d bytes, more than %d", name, h.Size, maxFile)
			}
			body, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			take(name, node{kind: h.Typeflag, mode: h.Mode & 0o755, link: h.Linkname, body: body})
		}
	}()
	if err != nil {
		cancel()
		cmd.Wait()
		return fmt.Errorf("package %s: %w", d.name, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("package %s: dpkg-deb --fsys-tarfile: %w", d.name, err)
	}
	return nil
}

// merged is a package's path in a system whose /lib is a link to /usr/lib.
func merged(name string) string {
	switch first, _, _ := strings.Cut(name, "/"); first {
	case "bin", "sbin", "lib", "lib64":
		return "usr/" + name
	}
	return name
}
