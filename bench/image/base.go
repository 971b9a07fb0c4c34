package main

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// packages are what the base layer takes files from.
var packages = []string{"base-files", "ca-certificates", "libc6"}

// machine is what differs between architectures.
type machine struct {
	triplet string // the distribution's name for its libraries
	loader  string // the dynamic loader, as binaries name it
	elf     elf.Machine
}

var machines = map[string]machine{
	"amd64": {"x86_64-linux-gnu", "lib64/ld-linux-x86-64.so.2", elf.EM_X86_64},
	"arm64": {"aarch64-linux-gnu", "lib/ld-linux-aarch64.so.1", elf.EM_AARCH64},
}

// libraries are the parts of glibc in the image. The server itself may be
// static; what it opens at run time is not: NVIDIA's libcuda and libnvidia-ml,
// which the container runtime mounts, name libc, libm, libdl, libpthread and
// librt and no other. The rest answers names of hosts.
var libraries = []string{
	"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1",
	"libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2",
}

// User and paths of the image. The numeric user satisfies runAsNonRoot.
const (
	user       = 65532
	modelPath  = "app/model_files"
	binaryPath = "usr/local/bin/remote-client-server"
)

// texts are the configuration files. debian_version, out of base-files, is
// by what NVIDIA's runtime knows where the libraries of a container are.
var texts = map[string]string{
	"etc/passwd":        fmt.Sprintf("root:x:0:0:root:/root:/sbin/nologin\nserver:x:%d:%[1]d:server:/app:/sbin/nologin\n", user),
	"etc/group":         fmt.Sprintf("root:x:0:\nserver:x:%d:\n", user),
	"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	"etc/ld.so.conf":    "include /etc/ld.so.conf.d/*.conf\n",
}

// baseTree is the layer below the server.
func baseTree(ctx context.Context, m machine, debs []deb) (tree, error) {
	t := tree{}
	for name, text := range texts {
		t.file(name, 0o644, []byte(text))
	}
	for _, dir := range []string{"lib", "lib64", "bin", "sbin"} {
		t.dir("usr/"+dir, 0o755, 0)
		t.symlink(dir, "usr/"+dir)
	}
	for _, dir := range []string{"dev", "proc", "run", "sys"} {
		t.dir(dir, 0o755, 0)
	}
	t.dir("tmp", 0o1777, 0)
	t.dir(modelPath, 0o755, user)
	t.dir(modelPath+"/.cache", 0o755, user)

	libs := "usr/lib/" + m.triplet
	wanted := map[string]bool{
		merged(m.loader): true, libs + "/" + path.Base(m.loader): true, "etc/ld.so.conf.d/" + m.triplet + ".conf": true,
		"etc/debian_version": true, "etc/os-release": true, "usr/lib/os-release": true,
	}
	for _, lib := range libraries {
		wanted[libs+"/"+lib] = true
	}
	for _, d := range debs { // what licences ask for, and what scanners for vulnerabilities read
		wanted["usr/share/doc/"+d.name+"/copyright"] = true
		t.file("var/lib/dpkg/status.d/"+d.name, 0o644, d.control)
	}
	certificates := map[string][]byte{}
	for _, d := range debs {
		err := d.each(ctx, func(name string) bool { return wanted[name] || certificate(name) }, func(name string, n node) {
			if certificate(name) {
				certificates[name] = n.body
				return
			}
			if n.kind == tar.TypeSymlink {
				t.symlink(name, n.link)
				return
			}
			t.file(name, n.mode, n.body)
		})
		if err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, ok := t[name]; !ok {
			return nil, fmt.Errorf("the packages %s do not hold /%s", versions(debs), name)
		}
	}
	if len(certificates) == 0 {
		return nil, fmt.Errorf("the packages %s hold no certificates", versions(debs))
	}
	var bundle bytes.Buffer // which the package's installation would write
	for _, name := range slices.Sorted(maps.Keys(certificates)) {
		bundle.Write(bytes.TrimSpace(certificates[name]))
		bundle.WriteByte('\n')
	}
	t.file("etc/ssl/certs/ca-certificates.crt", 0o644, bundle.Bytes())
	return t, nil
}

func certificate(name string) bool {
	return strings.HasPrefix(name, "usr/share/ca-certificates/mozilla/") && strings.HasSuffix(name, ".crt")
}
