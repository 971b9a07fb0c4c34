package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	put(t, home, files{".cache/huggingface/token": []byte(" hf_file\n"), "other/token": []byte("hf_other"), "mine": []byte("hf_mine\n")})
	cache := filepath.Join(home, ".cache", "huggingface", "hub")
	base := Settings{Token: "hf_file", Cache: cache, EtagTimeout: 10 * time.Second, DownloadTimeout: 10 * time.Second}
	for _, c := range []struct {
		name string
		env  map[string]string
		want func(*Settings)
		err  string
	}{
		{"nothing", nil, func(*Settings) {}, ""},
		{"a mirror", map[string]string{"HF_ENDPOINT": "https://mirror.example/hf/"}, func(s *Settings) { s.Endpoint = "https://mirror.example/hf" }, ""},
		{"no URL", map[string]string{"HF_ENDPOINT": "mirror"}, nil, "HF_ENDPOINT"},
		{"a password in the URL", map[string]string{"HF_ENDPOINT": "https://a:b@mirror"}, nil, "HF_ENDPOINT"},
		{"a token", map[string]string{"HF_TOKEN": " hf_a\n", "HUGGING_FACE_HUB_TOKEN": "hf_b"}, func(s *Settings) { s.Token = "hf_a" }, ""},
		{"the old token", map[string]string{"HF_TOKEN": " ", "HUGGING_FACE_HUB_TOKEN": "hf_b"}, func(s *Settings) { s.Token = "hf_b" }, ""},
		{"a token that cannot be one", map[string]string{"HF_TOKEN": "hf_a b"}, nil, "HF_TOKEN"},
		{"a token file", map[string]string{"HF_TOKEN_PATH": "~/mine"}, func(s *Settings) { s.Token = "hf_mine" }, ""},
		{"a token folder", map[string]string{"HF_TOKEN_PATH": "~/other"}, nil, "HF_TOKEN_PATH"},
		{"no implicit token", map[string]string{"HF_HUB_DISABLE_IMPLICIT_TOKEN": "yes"}, func(s *Settings) { s.Token = "" }, ""},
		{"HF_HOME", map[string]string{"HF_HOME": home + "/other"}, func(s *Settings) { s.Token, s.Cache = "hf_other", filepath.Join(home, "other", "hub") }, ""},
		{"XDG", map[string]string{"XDG_CACHE_HOME": "~/x"}, func(s *Settings) { s.Token, s.Cache = "", filepath.Join(home, "x", "huggingface", "hub") }, ""},
		{"a cache", map[string]string{"HF_HUB_CACHE": "/c", "HUGGINGFACE_HUB_CACHE": "/d"}, func(s *Settings) { s.Cache = "/c" }, ""},
		{"the old cache", map[string]string{"HUGGINGFACE_HUB_CACHE": "/d"}, func(s *Settings) { s.Cache = "/d" }, ""},
		{"offline", map[string]string{"HF_HUB_OFFLINE": "1"}, func(s *Settings) { s.Offline = true }, ""},
		{"offline by transformers", map[string]string{"TRANSFORMERS_OFFLINE": "On"}, func(s *Settings) { s.Offline = true }, ""},
		{"not offline", map[string]string{"HF_HUB_OFFLINE": "0"}, func(*Settings) {}, ""},
		{"timeouts", map[string]string{"HF_HUB_ETAG_TIMEOUT": "3", "HF_HUB_DOWNLOAD_TIMEOUT": "2.5"}, func(s *Settings) {
			s.EtagTimeout, s.DownloadTimeout = 3*time.Second, 2500*time.Millisecond
		}, ""},
		{"no time", map[string]string{"HF_HUB_ETAG_TIMEOUT": "NaN"}, nil, "HF_HUB_ETAG_TIMEOUT"},
		{"no time either", map[string]string{"HF_HUB_DOWNLOAD_TIMEOUT": "-1"}, nil, "HF_HUB_DOWNLOAD_TIMEOUT"},
		{"what means nothing here", map[string]string{"HF_HUB_DISABLE_XET": "1", "HF_HUB_ENABLE_HF_TRANSFER": "1", "HF_XET_X": "?"}, func(*Settings) {}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := FromEnv(func(name string) (string, bool) {
				if v, ok := c.env[name]; ok {
					return v, true
				}
				return home, name == "HOME"
			})
			if c.want == nil {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hf_a b") {
					t.Errorf("%v", err)
				}
				return
			}
			want := base
			c.want(&want)
			if err != nil || got.Token != want.Token || got.Cache != want.Cache || got.Endpoint != want.Endpoint || got.Offline != want.Offline ||
				got.EtagTimeout != want.EtagTimeout || got.DownloadTimeout != want.DownloadTimeout {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	for tele, want := range map[string]bool{"": true, "1": false} {
		s, err := FromEnv(func(name string) (string, bool) { return tele, name == "DO_NOT_TRACK" })
		if err != nil || strings.Contains(s.UserAgent, "; go/") != want || s.Cache != "" {
			t.Error(s.UserAgent, s.Cache, err)
		}
	}
}

func TestTheTokenIsNeverPrinted(t *testing.T) {
	s := Settings{Token: theToken}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+verb, s, &s)
		fmt.Fprintf(&b, verb, []Settings{s})
	}
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "settings", s, "pointer", &s)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "settings", s, "inside", struct{ S Settings }{s})
	_ = json.NewEncoder(&b).Encode(s)
	if strings.Contains(b.String(), "SECRET") || strings.Contains(b.String(), fmt.Sprintf("%x", theToken)) {
		t.Errorf("%s", b.String())
	}
	_, err := Settings{Token: theToken + "\r\nX: y", Endpoint: "http://127.0.0.1:1"}.Fetch(t.Context(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()})
	if !errors.Is(err, ErrRequest) || strings.Contains(err.Error(), "SECRET") {
		t.Error(err)
	}
}

func TestATokenFileThatCannotBeRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	home := t.TempDir()
	at := filepath.Join(home, "token")
	if err := os.WriteFile(at, []byte("hf_x"), 0o000); err != nil {
		t.Fatal(err)
	}
	if _, err := FromEnv(func(n string) (string, bool) { return at, n == "HF_TOKEN_PATH" }); err == nil || !strings.Contains(err.Error(), "HF_TOKEN_PATH") {
		t.Error(err)
	}
}
