package http

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// faulty is a listener that fails a few times before each connection.
type faulty struct {
	net.Listener
	errs []error
}

func (f *faulty) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	return f.Listener.Accept()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func dial(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAcceptOutlivesFailures(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	f := &faulty{listen(t), []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED}}
	l := newListener(f, func(v any) { t.Error(v) })
	dial(t, f)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := bytes.Count(log.Bytes(), []byte("connections cannot be accepted")); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, log.String())
	}
	l.logged = time.Time{}
	f.errs = []error{syscall.EMFILE}
	dial(t, f)
	if c, err := l.Accept(); err != nil {
		t.Fatal(err)
	} else {
		c.Close()
	}
	if n := bytes.Count(log.Bytes(), []byte("connections cannot be accepted")); n != 2 {
		t.Errorf("a second later: %d lines", n)
	}
}

// TestCloseEndsAPause closes a listener that never gets a connection.
func TestCloseEndsAPause(t *testing.T) {
	f := &faulty{Listener: listen(t)}
	for range 1000 {
		f.errs = append(f.errs, syscall.EMFILE)
	}
	l := newListener(f, func(v any) { t.Error(v) })
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestOneConnectionTooMany(t *testing.T) {
	ln := listen(t)
	l := newListener(ln, func(v any) { t.Error(v) })
	l.max = 2
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial(t, ln)
	first := <-accepted
	dial(t, ln)
	second := <-accepted
	third := dial(t, ln)
	if _, err := io.WriteString(third, request("/v1/embeddings", one)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(third); err != nil || !bytes.Equal(b, tooMany) {
		t.Errorf("%v %s", err, b)
	}
	third.Close()
	first.Close()
	first.Close() // counts once
	eventually(t, "one is left", func() bool { return l.open.Load() == 1 })
	dial(t, ln)
	(<-accepted).Close()
	second.Close()
	eventually(t, "none is left", func() bool { return l.open.Load() == 0 })
}

func TestConnLimit(t *testing.T) {
	for descriptors, want := range map[uint64]int64{
		0: maxConns, 1: 1, 60: 37, 256: 184, 1024: 888, 1 << 20: maxConns, 1<<64 - 1: maxConns,
	} {
		if got := connLimit(descriptors); got != want {
			t.Errorf("%d descriptors: %d connections, want %d", descriptors, got, want)
		}
	}
}
