package main

import (
	"io"
	"log/slog"
	"os"
)

// startLog sends the log from level on to w: text to a terminal and JSON
// elsewhere, unless the format is said. It returns the format.
func startLog(format string, level slog.Level, w io.Writer) string {
	if format == "auto" {
		format = "json"
		if isTerminal(w) {
			format = "text"
		}
	}
	o := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, o)
	if format == "json" {
		h = slog.NewJSONHandler(w, o)
	}
	slog.SetDefault(slog.New(h))
	return format
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
