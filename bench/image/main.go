// Command image assembles the server's container image as an OCI archive: an
// OCI Image Layout (image-spec 1.1) in a tar file, which docker load, podman
// load, skopeo, crane and containerd read. It needs neither a daemon nor a
// registry: the base layer is made of the distribution's packages, so that
// what is in the image can be read in this folder. Two runs with the same
// binary, packages and version give the same bytes.
//
//	go run ./image -binary ../bin/remote-client-server -o ../bin/remote-client-server.oci.tar
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := options{epoch: time.Unix(0, 0).UTC()}
	flag.StringVar(&o.binary, "binary", "../bin/remote-client-server", "the server, built for linux")
	flag.StringVar(&o.out, "o", "../bin/remote-client-server.oci.tar", "the archive to write")
	flag.StringVar(&o.version, "version", "dev", "version of the server: the image's tag")
	flag.StringVar(&o.arch, "arch", runtime.GOARCH, "amd64 or arm64")
	flag.StringVar(&o.cache, "cache", "", "folder that keeps packages for the next run (the user's cache)")
	flag.Parse()
	err := o.fromEnv()
	if err == nil && flag.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	var a *archive
	if err == nil {
		a, err = assemble(ctx, o)
	}
	if err == nil {
		err = a.write(o.out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	packed, whole := a.size()
	fmt.Printf("%s: %s, linux/%s, %.1f MB (%.1f MB unpacked)\n", o.out, a.manifest.Digest, o.arch, float64(packed)/1e6, float64(whole)/1e6)
	fmt.Printf("packages: %s\n", a.packages)
}

// options are what an image is made from.
type options struct {
	binary, out, version, arch, cache string

	epoch time.Time // of every file in the image
}

// fromEnv fills what the flags leave open. SOURCE_DATE_EPOCH is the
// convention of reproducible-builds.org.
func (o *options) fromEnv() error {
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %q is no time in seconds", s)
		}
		o.epoch = time.Unix(n, 0).UTC()
	}
	if o.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("-cache: %w", err)
		}
		o.cache = filepath.Join(dir, "remote-client-server", "image")
	}
	return nil
}

// assemble builds the image in memory; it is far smaller than a model.
func assemble(ctx context.Context, o options) (*archive, error) {
	m, ok := machines[o.arch]
	if !ok {
		return nil, fmt.Errorf("-arch: %q is neither amd64 nor arm64", o.arch)
	}
	tag := strings.ReplaceAll(o.version, "+", "-") // a tag knows no plus sign
	if !tagged.MatchString(tag) {
		return nil, fmt.Errorf("-version: %q is no version like 1.2.3", o.version)
	}
	program, err := os.ReadFile(o.binary)
	if err != nil {
		return nil, fmt.Errorf("-binary: %w", err)
	}
	debs, err := fetch(ctx, o.cache, o.arch, packages)
	if err != nil {
		return nil, err
	}
	base, err := baseTree(ctx, m, debs)
	if err != nil {
		return nil, err
	}
	top := tree{}
	top.file(binaryPath, 0o755, program)
	if err := linked(m, base, top); err != nil {
		return nil, err
	}
	a := &archive{tag: tag, packages: versions(debs)}
	for _, l := range []struct {
		tree tree
		from string
	}{{base, "packages: " + a.packages}, {top, "remote-client-server " + o.version}} {
		if err := a.add(l.tree, l.from, o.epoch); err != nil {
			return nil, err
		}
	}
	return a, a.seal(o)
}
