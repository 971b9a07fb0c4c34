package main

import (
	"archive/tar"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// tree is the content of a layer, by path without a leading slash.
type tree map[string]node

// node is a file, a directory or a symbolic link.
type node struct {
	kind byte  // tar.TypeReg, tar.TypeDir or tar.TypeSymlink
	mode int64 // permissions
	user int   // owner and group
	link string
	body []byte
}

func (t tree) file(name string, mode int64, body []byte) {
	t.put(name, node{kind: tar.TypeReg, mode: mode, body: body})
}

func (t tree) dir(name string, mode int64, user int) {
	t.put(name, node{kind: tar.TypeDir, mode: mode, user: user})
}

func (t tree) symlink(name, target string) {
	t.put(name, node{kind: tar.TypeSymlink, mode: 0o777, link: target})
}

// put adds n and the directories above it that are not there yet.
func (t tree) put(name string, n node) {
	t[name] = n
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := t[dir]; !ok {
			t[dir] = node{kind: tar.TypeDir, mode: 0o755}
		}
	}
}

// resolve follows symbolic links and returns the node's own path.
func (t tree) resolve(name string) (string, error) {
	const most = 16 // links; more is a circle
	at := name
	for range most {
		next, linked, ok := t.step(strings.TrimPrefix(path.Clean("/"+at), "/"))
		if !ok {
			return "", fmt.Errorf("/%s is not in the image", name)
		}
		if !linked {
			return next, nil
		}
		at = next
	}
	return "", fmt.Errorf("/%s: too many symbolic links", name)
}

// step replaces the first link on the way to name by what it points to. It is
// not ok if something on that way is missing.
func (t tree) step(name string) (next string, linked, ok bool) {
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		n, ok := t[name[:i]]
		if !ok {
			return "", false, false
		}
		if n.kind == tar.TypeSymlink {
			target := n.link
			if !path.IsAbs(target) {
				target = path.Join("/", path.Dir(name[:i]), target)
			}
			return strings.TrimPrefix(path.Join(target, name[i:]), "/"), true, true
		}
	}
	return name, false, true
}

// tar writes the tree in the order of its paths, every time being when, with
// no names of users.
func (t tree) tar(w io.Writer, when time.Time) error {
	tw := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		n := t[name]
		h := &tar.Header{
			Typeflag: n.kind, Name: name, Linkname: n.link, Mode: n.mode, Uid: n.user, Gid: n.user,
			Size: int64(len(n.body)), ModTime: when, Format: tar.FormatPAX,
		}
		if n.kind == tar.TypeDir {
			h.Name += "/"
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
		if _, err := tw.Write(n.body); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	return tw.Close()
}
