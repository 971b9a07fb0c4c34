package http

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pair is the server's and the client's side of a connection.
func pair(t *testing.T, stall time.Duration) (*conn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(ln, func(v any) { t.Error(v) })
	l.stall = stall
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return server.(*conn), client
}

func TestWriteEndsForAReaderThatStopped(t *testing.T) {
	server, _ := pair(t, 50*time.Millisecond)
	server.owe()
	n, err := server.Write(make([]byte, 64<<20)) // more than any socket holds
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 64<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if owed, lost := server.ln.owed.Load(), server.ln.lost.Load(); owed != 0 || lost != 1 {
		t.Errorf("%d answers are owed, %d lost", owed, lost)
	}
}

func TestWriteWaitsForASlowReader(t *testing.T) {
	const size = 32 << 20
	stall := 500 * time.Millisecond
	server, client := pair(t, stall)
	read := make(chan int64)
	go func() { // pauses add up to more than stall, but none is as long
		var n int64
		for range 8 {
			time.Sleep(stall / 5)
			m, _ := io.CopyN(io.Discard, client, size/8)
			n += m
		}
		read <- n
	}()
	n, err := server.Write(make([]byte, size))
	if got := <-read; err != nil || n != size || got != size {
		t.Errorf("wrote %d, read %d, %v", n, got, err)
	}
}

func TestGone(t *testing.T) {
	server, client := pair(t, time.Second)
	if server.gone() {
		t.Error("a client that waits is gone")
	}
	if _, err := client.Write([]byte("next request")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bytes arrive", func() bool {
		b := make([]byte, 1)
		n, err := server.Read(b)
		return n == 1 && err == nil
	})
	if server.gone() {
		t.Error("a client that sends is gone")
	}
	client.Close() // with bytes left to read
	eventually(t, "the client is gone", server.gone)
	server.Conn.Close()
	if !server.gone() {
		t.Error("a connection that is closed here is not gone")
	}
}
