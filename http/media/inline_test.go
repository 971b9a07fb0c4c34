package media

import (
	"bytes"
	"encoding/base64"
	"errors"
	"runtime"
	"strings"
	"testing"
)

func TestImagesInTheRequest(t *testing.T) {
	f := New(Options{NoURLs: true})
	for name, want := range samples(t) {
		std, web := base64.StdEncoding.EncodeToString(want), base64.RawURLEncoding.EncodeToString(want)
		lines := ""
		for s := std; len(s) > 0; s = s[min(len(s), 76):] {
			lines += s[:min(len(s), 76)] + "\r\n"
		}
		for _, source := range []string{
			std, web, lines,
			"base64:" + std, "base64:" + strings.TrimRight(std, "="), "BASE64:" + std,
			"data:image/png;base64," + std, "data:image/jpeg;charset=utf-8;base64," + lines,
			"DATA:IMAGE/whatever;BASE64," + web, "data:;base64," + std,
		} {
			got, err := f.Bytes(t.Context(), source)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s as %.40q: %d bytes, %v", name, source, len(got), err)
			}
		}
	}
}

func TestFault33_BadBase64(t *testing.T) {
	dot := base64.StdEncoding.EncodeToString(png(1, 1))
	for source, want := range map[string]error{
		"":                                   ErrBadBase64,
		"base64:":                            ErrBadBase64,
		"base64:\n":                          ErrBadBase64,
		"data:image/png;base64,":             ErrBadBase64,
		"data:image/png;base64":              ErrBadBase64,
		"data:image/png," + dot:              ErrBadBase64,
		"data:,hello":                        ErrBadBase64,
		"data:":                              ErrBadBase64,
		"data:" + strings.Repeat("x", 1000):  ErrBadBase64,
		"data:text/html;base64," + dot:       ErrNotImage,
		"data:application/pdf;base64," + dot: ErrNotImage,
		"data:image/svg+xml;base64,PHN2Zy8+": ErrNotImage,
		dot + "=":                            ErrBadBase64,
		dot[:len(dot)-1] + "*":               ErrBadBase64,
		dot[:8] + " " + dot[8:]:              ErrBadBase64,
		dot[:8] + "=" + dot[8:]:              ErrBadBase64,
		"+_" + dot:                           ErrBadBase64,
		"A":                                  ErrBadBase64,
		"äöü":                                ErrBadBase64,
		"hello":                              ErrBadBase64, // no length that base64 has
		"aGVsbG8":                            ErrNotImage,
		"/etc/passwd":                        ErrNotImage, // it is base64
		"file:///etc/passwd":                 ErrForbidden,
		"gopher://127.0.0.1:6379/_x":         ErrForbidden,
		"ftp://example.com/a.png":            ErrForbidden,
		"javascript:alert(1)":                ErrForbidden,
		"c:\\picture.png":                    ErrForbidden,
		":":                                  ErrForbidden,
		"https://example.com/a.png":          ErrForbidden, // switched off
	} {
		if b, err := New(Options{NoURLs: true}).Bytes(t.Context(), source); !errors.Is(err, want) || b != nil {
			t.Errorf("%.60q: %v, want %v", source, err, want)
		}
	}
}

func TestBase64IsBoundedBeforeItIsDecoded(t *testing.T) {
	f := New(Options{MaxBytes: 100})
	for n, want := range map[int]error{33: nil, 99: nil, 100: nil, 101: ErrTooLarge, 102: ErrTooLarge, 5 << 20: ErrTooLarge} {
		image := append(png(1, 1), make([]byte, n-33)...)
		for _, source := range []string{base64.StdEncoding.EncodeToString(image), base64.RawURLEncoding.EncodeToString(image)} {
			if _, err := f.Bytes(t.Context(), source); !errors.Is(err, want) {
				t.Errorf("%d bytes: %v, want %v", n, err, want)
			}
		}
	}
	long := strings.Repeat("A", 64<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := f.Bytes(t.Context(), long)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 || !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d bytes were allocated for what is refused by its length: %v", n, err)
	}
}

// FuzzBytes: what is returned is the image that base64 holds, whatever the
// source looks like; nothing is ever fetched.
func FuzzBytes(f *testing.F) {
	dot := base64.StdEncoding.EncodeToString(png(1, 1))
	for _, s := range []string{dot, "base64:" + dot, "data:image/png;base64," + dot, "data:;base64," + dot[:20] + "\n" + dot[20:], "http://x", "data:,"} {
		f.Add(s)
	}
	fetcher := New(Options{NoURLs: true, MaxBytes: 1000})
	f.Fuzz(func(t *testing.T, source string) {
		b, err := fetcher.Bytes(t.Context(), source)
		if err != nil {
			for _, known := range []error{ErrForbidden, ErrTooLarge, ErrNotImage, ErrBadBase64} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatal("an error of no kind:", err)
		}
		if len(b) > 1000 {
			t.Fatal(len(b), "bytes")
		}
		data := source[strings.IndexByte(source, ',')+1:]
		data = data[strings.LastIndexByte(data, ':')+1:]
		data = strings.NewReplacer("\r", "", "\n", "", "-", "+", "_", "/", "=", "").Replace(data)
		if want, err := base64.RawStdEncoding.DecodeString(data); err != nil || !bytes.Equal(b, want) {
			t.Fatalf("%x, want %x (%v)", b, want, err)
		}
	})
}

func BenchmarkBase64(b *testing.B) {
	s := base64.StdEncoding.EncodeToString(append(png(1, 1), make([]byte, 1<<20)...))
	b.SetBytes(int64(len(s)))
	f := New(Options{})
	for b.Loop() {
		if _, err := f.Bytes(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}
