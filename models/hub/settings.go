package hub

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	defaultEndpoint = "https://huggingface.co"
	defaultTimeout  = 10 * time.Second
)

// Settings are where the Hub is and who asks; the zero value asks
// huggingface.co anonymously.
type Settings struct {
	Endpoint string // base URL without a slash at the end; "" is https://huggingface.co
	Token    string `json:"-"` // "" asks anonymously; sent to the endpoint only
	Cache    string // folder of the Hub cache that is read as a source, "" for none
	Offline  bool   // no request at all

	EtagTimeout     time.Duration // to connect and for an answer of the API; 0 is 10 s
	DownloadTimeout time.Duration // a download may stand still so long; 0 is 10 s
	UserAgent       string        // "name/version; key/value; ..."; "" is remote-client-server

	hooks hooks
}

// FromEnv reads the variables that the Hub's own client has, with lookup as
// os.LookupEnv. A token file that does not exist is no error; an error names
// the variable.
func FromEnv(lookup func(string) (string, bool)) (Settings, error) {
	var s Settings
	e := env{lookup: lookup}
	s.Endpoint = strings.TrimRight(e.first("HF_ENDPOINT"), "/")
	if s.Endpoint != "" {
		if _, err := parseEndpoint(s.Endpoint); err != nil {
			return Settings{}, fmt.Errorf("HF_ENDPOINT: %w", err)
		}
	}
	s.Offline = e.bool("HF_HUB_OFFLINE") || e.bool("TRANSFORMERS_OFFLINE")
	s.UserAgent = "remote-client-server/1"
	if !e.bool("HF_HUB_DISABLE_TELEMETRY") && !e.bool("DO_NOT_TRACK") {
		s.UserAgent += "; go/" + strings.TrimPrefix(runtime.Version(), "go") + "; os/" + runtime.GOOS + "; arch/" + runtime.GOARCH
	}
	for name, to := range map[string]*time.Duration{
		"HF_HUB_ETAG_TIMEOUT": &s.EtagTimeout, "HF_HUB_DOWNLOAD_TIMEOUT": &s.DownloadTimeout,
	} {
		*to = defaultTimeout
		if v := e.first(name); v != "" {
			seconds, err := strconv.ParseFloat(v, 64)
			if err != nil || !(seconds > 0 && seconds <= 86400) {
				return Settings{}, fmt.Errorf("%s: %q is no number of seconds in (0, 86400]", name, v)
			}
			*to = time.Duration(seconds * float64(time.Second))
		}
	}
	home, err := e.home()
	if err != nil {
		return Settings{}, err
	}
	cache := e.first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
	if cache == "" && home != "" {
		cache = filepath.Join(home, "hub")
	}
	if s.Cache, err = e.expand(cache, "HF_HUB_CACHE"); err != nil {
		return Settings{}, err
	}
	if !e.bool("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		if s.Token, err = e.token(home); err != nil {
			return Settings{}, err
		}
	}
	return s, nil
}

// env reads variables; an empty one counts as unset.
type env struct {
	lookup func(string) (string, bool)
}

func (e env) first(names ...string) string {
	for _, name := range names {
		if v, ok := e.lookup(name); ok {
			if v = strings.TrimSpace(v); v != "" {
				return v
			}
		}
	}
	return ""
}

func (e env) bool(name string) bool {
	switch strings.ToUpper(e.first(name)) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// expand replaces a leading "~".
func (e env) expand(p, name string) (string, error) {
	if p != "~" && !strings.HasPrefix(p, "~/") {
		return p, nil
	}
	user := e.first("HOME", "USERPROFILE")
	if user == "" {
		return "", fmt.Errorf("%s: %q cannot be expanded: HOME is not set", name, p)
	}
	return filepath.Join(user, p[1:]), nil
}

// home is HF_HOME, or "" where there is none.
func (e env) home() (string, error) {
	if v := e.first("HF_HOME"); v != "" {
		return e.expand(v, "HF_HOME")
	}
	if v := e.first("XDG_CACHE_HOME"); v != "" {
		v, err := e.expand(v, "XDG_CACHE_HOME")
		return filepath.Join(v, "huggingface"), err
	}
	if user := e.first("HOME", "USERPROFILE"); user != "" {
		return filepath.Join(user, ".cache", "huggingface"), nil
	}
	return "", nil
}

func (e env) token(home string) (string, error) {
	name := "HF_TOKEN"
	token := e.first(name)
	if token == "" {
		name = "HUGGING_FACE_HUB_TOKEN"
		token = e.first(name)
	}
	if token == "" {
		name = "HF_TOKEN_PATH"
		at, err := e.expand(e.first(name), name)
		if err != nil {
			return "", err
		}
		if at == "" && home != "" {
			at = filepath.Join(home, "token")
		}
		if token, err = readToken(at); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return token, nil
}

// readToken reads a token file, "" where there is none.
func readToken(at string) (string, error) {
	if at == "" {
		return "", nil
	}
	info, err := os.Stat(at)
	if os.IsNotExist(err) {
		return "", nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", at)
	}
	if err != nil {
		return "", err
	}
	f, err := os.Open(at)
	if err != nil {
		return "", err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 4096))
	return strings.TrimSpace(string(raw)), err
}

// checkToken refuses what cannot stand in a header; the error does not show it.
func checkToken(token string) error {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] >= 0x7f {
			return fmt.Errorf("%w: the token has a character at position %d that no token has", ErrRequest, i+1)
		}
	}
	return nil
}

func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%w: the endpoint is no plain http or https URL", ErrRequest)
	}
	return u, nil
}

// String shows whether there is a token, never the token.
func (s Settings) String() string {
	token := "none"
	if s.Token != "" {
		token = "(set)"
	}
	return fmt.Sprintf("endpoint %s, token %s, cache %q, offline %v", s.endpoint(), token, s.Cache, s.Offline)
}

// Format prints String for every verb, also %#v.
func (s Settings) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String for slog.
func (s Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (s Settings) endpoint() string {
	if s.Endpoint == "" {
		return defaultEndpoint
	}
	return strings.TrimRight(s.Endpoint, "/")
}

func orDefault(d time.Duration) time.Duration {
	if d <= 0 {
		return defaultTimeout
	}
	return d
}
