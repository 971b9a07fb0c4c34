// Command remote-client-server serves one model over HTTP.
//
// Exit codes: 0 after SIGTERM or SIGINT once the admitted jobs have ended and
// their answers are taken, 1 for a failed start, a port in use or a drain that
// its limit cut short, 2 for wrong flags or environment variables, 3 for a lost
// device.
package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

const (
	exitOK    = 0
	exitStart = 1
	exitFlags = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	l, err := readLine(args, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "remote-client-server:", err)
		return exitStart
	}
	if l == nil { // --help and --version have said all
		return exitOK
	}
	c, faults := l.config()
	if len(faults) > 0 {
		fmt.Fprintf(stderr, "remote-client-server: wrong flags or environment variables:\n  %s\nTry --help.\n", strings.Join(faults, "\n  "))
		return exitFlags
	}
	if l.command == "demo" {
		return demo(c, stdout, stderr)
	}
	c.logFormat = startLog(c.logFormat, slog.LevelInfo, stderr)
	for _, note := range c.notes {
		slog.Warn(note)
	}
	return serve(c, stdout)
}
