// Command load measures the server against its goals:
//
//	overhead  what the server adds to its model's own time, beside 1,000 connections that idle
//	idle      the same beside 1,000 open streams of events, with a model that takes no time
//	health    how soon /api/health answers while the model computes on all cores
//	overload  what ten times the sustainable load does: to those admitted, to those refused, to memory
//
// It prints one JSON object a measure on standard output and a table on
// standard error, and exits with 1 when a goal is missed or an answer was
// wrong.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"remote-client-server/bench/load/report"
	"remote-client-server/bench/load/target"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == parkedServer {
		if err := serveParked(os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	what    string
	binary  string
	length  time.Duration // of each measurement
	idlers  int           // connections or streams that idle
	threads int           // that compute; 0: as the server chooses
	goals   bool
}

// start runs the server with these flags besides the usual ones.
func (o *options) start(flags ...string) (*target.Server, error) {
	if o.threads > 0 {
		flags = append(flags, "--threads", fmt.Sprint(o.threads))
	}
	return target.Start(o.binary, append(flags, target.Flags...)...)
}

// modes are the measurements.
var modes = map[string]func(*options) ([]report.Measure, error){
	"overhead": overhead, "idle": idle, "health": health, "overload": overload,
}

func run(args []string, stdout, stderr io.Writer) error {
	var o options
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.what, "what", "", "overhead, idle, health or overload")
	f.StringVar(&o.binary, "binary", "", "the server's program; it is built when none is named")
	f.DurationVar(&o.length, "for", time.Minute, "length of the measurement")
	f.IntVar(&o.idlers, "idle", 1000, "connections or streams that idle meanwhile")
	f.IntVar(&o.threads, "threads", 0, "threads that the server computes with; 0 leaves it the choice")
	f.BoolVar(&o.goals, "goals", true, "fail when a goal is missed")
	if err := f.Parse(args); err != nil {
		return err
	}
	measureIt, ok := modes[o.what]
	if !ok || f.NArg() > 0 || o.length <= 0 || o.idlers < 0 || o.threads < 0 {
		f.Usage()
		return errors.New("-what must be overhead, idle, health or overload")
	}
	if o.binary == "" && o.what != "idle" {
		dir, err := os.MkdirTemp("", "load")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if o.binary, err = target.Build(dir); err != nil {
			return err
		}
	}
	before := usageNow()
	measures, err := measureIt(&o)
	if err != nil {
		return err
	}
	if cores, known := before.others(); known {
		measures = append(measures, report.Plain("processors that others kept busy", cores, ""))
	}
	if err := report.Write(o.what, measures, stdout, stderr); err != nil {
		return err
	}
	if report.Missed(measures) && o.goals {
		return errors.New("a goal is missed")
	}
	return nil
}
