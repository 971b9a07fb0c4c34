package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"remote-client-server/models/hub"
)

// fetch makes the model's files be there and settles in which folder they are.
// tell hears how far it is, if the Hub has to be asked.
func (c *config) fetch(ctx context.Context, tell func(hub.Progress)) error {
	if c.repoID == "" {
		return c.checkFolder()
	}
	r, err := c.hub.Fetch(ctx, hub.Request{
		Repo: c.repoID, Revision: c.revision, Kind: c.kind, Dir: c.dir, Variant: c.variant,
		Update: c.update, Verify: c.verify, Workers: c.workers, Report: tell,
	})
	if err != nil {
		if errors.Is(err, hub.ErrFolder) {
			err = fmt.Errorf("%w; --model_files DIR or --local_files name another place", err)
		}
		return err
	}
	for _, w := range r.Warnings {
		slog.Warn("model files", "warning", w)
	}
	if r.Source == "hub" {
		slog.Info("downloaded", "repository", c.repoID, "commit", r.Commit, "folder", r.Dir, "files", r.Files, "bytes", r.Bytes)
	}
	c.dir, c.commit = r.Dir, r.Commit
	return nil
}

// Times between two signs of life of a download.
const (
	barEvery = 100 * time.Millisecond
	logEvery = 5 * time.Second
)

// teller shows a download's progress: a bar on a terminal, else a line of the
// log now and then. It is called by one goroutine at a time.
type teller struct {
	w     io.Writer // a terminal, or nil
	next  time.Time // when to tell again
	shown bool      // the bar is on the screen
}

func newTeller(w io.Writer) *teller {
	if !isTerminal(w) {
		w = nil
	}
	return &teller{w: w, next: time.Now().Add(barEvery)}
}

func (t *teller) tell(p hub.Progress) {
	now := time.Now()
	if p.Phase != hub.Downloading {
		t.end()
		return
	}
	if now.Before(t.next) {
		return
	}
	if t.w != nil {
		t.next, t.shown = now.Add(barEvery), true
		fmt.Fprint(t.w, "\r\x1b[K", bar(p, 30))
		return
	}
	t.next = now.Add(logEvery)
	slog.Info("downloading", "file", p.File, "files", fmt.Sprintf("%d/%d", p.FilesDone, p.Files), "bytes", p.Bytes, "of", p.Total,
		"bytes_per_second", int64(p.Rate), "left", p.ETA.Round(time.Second).String())
}

// end leaves the line of the bar, so that what follows does not overwrite it.
func (t *teller) end() {
	if t.shown {
		fmt.Fprintln(t.w)
		t.shown = false
	}
}

// bar draws progress in one line.
func bar(p hub.Progress, width int) string {
	full := 0
	if p.Total > 0 {
		full = int(float64(width) * min(1, float64(p.Bytes)/float64(p.Total)))
	}
	line := fmt.Sprintf("[%s%s] %s of %s, %d of %d files, %s/s", strings.Repeat("#", full), strings.Repeat(".", width-full),
		bytesText(p.Bytes), bytesText(p.Total), p.FilesDone, p.Files, bytesText(int64(p.Rate)))
	if p.ETA > 0 {
		line += ", " + p.ETA.Round(time.Second).String() + " left"
	}
	return line
}

// bytesText writes a size in decimal units.
func bytesText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// download is the command that fetches and does no more. The folder is its
// whole output, for scripts.
func download(c *config, stdout, stderr io.Writer) int {
	if c.repoID == "" {
		fmt.Fprintln(stderr, "download: no repository is named: give --model_repo_id")
		return exitFlags
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	t := newTeller(stderr)
	err := guard("the download", func() error { return c.fetch(ctx, t.tell) })
	t.end()
	if err != nil {
		slog.Error("the download failed", "error", err)
		return exitStart
	}
	fmt.Fprintln(stdout, c.dir)
	return exitOK
}
