// Command remote-client-server serves one model over HTTP.
//
// Exit codes: 0 after SIGTERM or SIGINT once the admitted jobs have ended and
// their answers are taken, 1 for a failed start, a port in use or a drain that
// its limit or a second signal cut short, 2 for wrong flags or environment variables, 3 for a lost
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
	exitOK     = 0
	exitStart  = 1
	exitFlags  = 2
	exitDevice = 3
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
	switch l.command {
	case "version":
		fmt.Fprintln(stdout, build())
		return exitOK
	case "completion":
		if err := completion(l, stdout); err != nil {
			fmt.Fprintln(stderr, "completion:", err)
			return exitFlags
		}
		return exitOK
	case "demo":
		return demo(c, stdout, stderr)
	case "health":
		return health(c, stdout, stderr)
	}
	c.logFormat = startLog(c.logFormat, c.logLevel, stderr)
	for _, note := range c.notes {
		slog.Warn(note)
	}
	switch l.command {
	case "download":
		return download(c, stdout, stderr)
	case "check":
		return check(c, stdout, stderr)
	case "bench":
		return bench(c, stdout, stderr)
	}
	return serve(c, stdout, stderr)
}
