package main

import (
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzCommandLine gives any arguments and any environment, as the lines of two
// texts: there is no panic, and what is at fault is told in words.
func FuzzCommandLine(f *testing.F) {
	for _, s := range [][2]string{
		{"--port\n8080\n--model=a\n--model_type\nembed", "MODEL=b\nNO_REDIS=False"},
		{"demo", "PORT=tcp://1.2.3.4:80"}, {"--no_redis=maybe\n--threads=-1", "API_KEY=a,b"}, {"--help", ""}, {"version", ""}, {"--\n-\n-x", "=\nA"},
		{"completion\nbash", ""}, {"--api_key=a\n--api_key=b\n--redis_url=http://x", "REDIS_URL=redis://[::1"}, {"--max_body=99999999999999999999gib", "JOB_TIMEOUT=1e999"},
		{"--model_files=.", "MODEL_ID=a/b"}, {"--host=[::1]", "MEDIA_ALLOW_CIDRS=10.0.0.0/8,x"}, {"--port=", "MODEL_TYPE= "},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, line, environment string) {
		cleanEnv(t)
		for v := range strings.SplitSeq(environment, "\n") {
			name, value, ok := strings.Cut(v, "=")
			if ok && knownVariables[name] && !strings.Contains(value, "\x00") {
				t.Setenv(name, value)
			}
		}
		if strings.Contains(line, "api_key_file") || os.Getenv("API_KEY_FILE") != "" || strings.Contains(line, "api-key-file") { // it would read any file here
			return
		}
		l, err := readLine(strings.Split(line, "\n"), io.Discard, io.Discard)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if l == nil {
			return
		}
		c, faults := l.config()
		for _, fault := range faults {
			if strings.TrimSpace(fault) == "" || utf8.ValidString(line+environment) && !utf8.ValidString(fault) {
				t.Fatalf("%q, %q: fault %q", line, environment, fault)
			}
		}
		if len(faults) > 0 {
			return
		}
		if c.port < 0 || c.port > 65535 || c.queueSize < 1 || c.maxBody < 1 || c.maxBody > 1<<30 || c.jobTimeout < 0 || c.threads < 0 || c.kind == "" || c.name == "" || c.dtype == "" {
			t.Fatalf("%q, %q: %+v", line, environment, c)
		}
		if strings.ContainsAny(c.name, "/\\\x00") || c.name == "." || c.name == ".." {
			t.Fatalf("%q, %q: the name %q", line, environment, c.name)
		}
	})
}

// knownVariables are those that flags read, but for the settings of the Hub.
var knownVariables = func() map[string]bool {
	known := map[string]bool{}
	typ := reflect.TypeOf(flags{})
	for i := range typ.NumField() {
		for name := range strings.SplitSeq(typ.Field(i).Tag.Get("env"), ",") {
			known[name] = name != ""
		}
	}
	return known
}()
