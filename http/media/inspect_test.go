package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// samples are Pillow's images; their names tell format and size.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.*x*.*")
	if err != nil || len(paths) < 25 {
		t.Fatal(len(paths), "samples", err)
	}
	all := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(p)] = b
	}
	return all
}

func TestFault30_EveryLayout(t *testing.T) {
	for name, b := range samples(t) {
		var w, h int
		var ext string
		_, size, _ := strings.Cut(name, ".")
		if _, err := fmt.Sscanf(size, "%dx%d.%s", &w, &h, &ext); err != nil {
			t.Fatal(name, err)
		}
		format, gw, gh, err := Inspect(b, int64(w*h))
		if err != nil || format != ext || gw != w || gh != h {
			t.Errorf("%s: %s %d x %d, %v", name, format, gw, gh, err)
		}
		if _, _, _, err := Inspect(b, int64(w*h-1)); w*h > 1 && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: one pixel too many: %v", name, err)
		}
	}
}

// png is the head of an image that says it is so large.
func png(w, h uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")
	b = binary.BigEndian.AppendUint32(b, w)
	b = binary.BigEndian.AppendUint32(b, h)
	return append(b, 8, 2, 0, 0, 0, 0, 0, 0, 0)
}

// webp is an extended file with a canvas and, unless frame is "", an
// animation's frame with a lossless bitstream; sizes are as in the file.
func webp(canvas, frame, bitstream string) []byte {
	b := "RIFF0000WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00" + canvas
	if frame == "" {
		return []byte(b)
	}
	data := "\x00\x00\x00\x00\x00\x00" + frame + "\x00\x00\x00\x00"
	if bitstream != "" {
		data += "VP8L\x05\x00\x00\x00" + bitstream + "\x00"
	}
	return []byte(b + "ANMF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(data)))) + data)
}

func TestFault31_HeaderSaysHuge(t *testing.T) {
	for name, b := range map[string][]byte{
		"png 60000x60000":      png(60000, 60000),
		"png 1x20000":          png(1, 20000),
		"png 2^32":             png(1<<32-1, 1<<32-1),
		"png 10000x10000":      png(10000, 10000),
		"jpeg 60000x60000":     []byte("\xff\xd8\xff\xc0\x00\x0b\x08\xea\x60\xea\x60\x01\x00\x00\x00"),
		"gif 65535x65535":      []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"),
		"bmp 2^31 downwards":   append([]byte("BM000000000000\x28\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x80\x01\x00\x18\x00"), make([]byte, 24)...),
		"webp canvas 2^24":     webp("\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x00", "\x2f\x00\x00\x00\x00"),
		"tiff 2^32":            []byte("II*\x00\x08\x00\x00\x00\x02\x00\x00\x01\x04\x00\x01\x00\x00\x00\xff\xff\xff\xff\x01\x01\x04\x00\x01\x00\x00\x00\xff\xff\xff\xff"),
		"tiff, Motorola 60000": []byte("MM\x00*\x00\x00\x00\x08\x00\x02\x01\x00\x00\x03\x00\x00\x00\x01\xea\x60\x00\x00\x01\x01\x00\x03\x00\x00\x00\x01\xea\x60\x00\x00"),
	} {
		if n := testing.AllocsPerRun(1, func() { _, _, _, _ = Inspect(b, defaultPixels) }); n > 16 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if _, _, _, err := Inspect(b, defaultPixels); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An extended WebP whose canvas is small and whose bitstream is not would be
// decoded at the bitstream's size.
func TestFault31_WebPCanvasLies(t *testing.T) {
	const seven, one = "\x07\x00\x00\x07\x00\x00", "\x00\x00\x00\x00\x00\x00"
	const honest, dot, huge = "\x2f\x07\xc0\x01\x00", "\x2f\x00\x00\x00\x00", "\x2f\xff\xff\xff\x0f"
	still := string(webp(seven, "", ""))
	for name, c := range map[string]struct {
		b  []byte
		ok bool
	}{
		"honest bitstream":        {[]byte(still + "VP8L\x05\x00\x00\x00" + honest + "\x00"), true},
		"huge bitstream":          {[]byte(still + "VP8L\x05\x00\x00\x00" + huge + "\x00"), false},
		"later":                   {[]byte(still + "EXIF\x01\x00\x00\x00xxVP8L\x05\x00\x00\x00" + huge + "\x00"), false},
		"honest frame":            {webp(seven, seven, honest), true},
		"smaller frame":           {webp(seven, one, dot), true},
		"larger frame":            {webp(one, seven, honest), false},
		"frame's huge bitstream":  {webp(seven, seven, huge), false},
		"frame without bitstream": {webp(seven, seven, ""), false},
		"nothing":                 {[]byte(still), false},
	} {
		_, w, h, err := Inspect(c.b, defaultPixels)
		if c.ok && (err != nil || w != 8 || h != 8) || !c.ok && !errors.Is(err, ErrNotImage) {
			t.Errorf("%s: %d x %d, %v", name, w, h, err)
		}
	}
}

func TestFault32_NotAnImage(t *testing.T) {
	for text, all := range map[string][]string{
		"SVG":               {`<svg xmlns="http://www.w3.org/2000/svg"/>`, "\xef\xbb\xbf<?xml version='1.0'?>\n<!DOCTYPE svg><SVG>"},
		"HTML":              {"<!doctype html><html>", "\n<HTML><body>"},
		"XML":               {"<?xml version='1.0'?><a/>"},
		"a zip file":        {"PK\x03\x04 and then GIF89a\x01\x00\x01\x00\x00\x00\x00"},
		"a PDF file":        {"%PDF-1.7"},
		"compressed":        {"\x1f\x8b\x08"},
		"HEIC":              {"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "\x00\x00\x00\x18ftypmif1"},
		"AVIF":              {"\x00\x00\x00\x20ftypavif"},
		"a video":           {"\x00\x00\x00\x20ftypisom"},
		"JPEG XL":           {"\xff\x0a\x00", "\x00\x00\x00\x0cJXL \r\n\x87\n"},
		"JPEG 2000":         {"\x00\x00\x00\x0cjP  \r\n\x87\n"},
		"BigTIFF":           {"II+\x00\x08\x00\x00\x00"},
		"empty":             {""},
		"; accepted are":    {"hello", "\x00", "RIFF0000WAVE", "GIF88a\x01\x00\x01\x00", "\xff\xd8", "<"},
		"header is damaged": {"\xff\xd8\xff\xda\x00\x08", "\xff\xd8\xff\xd9", "\xff\xd8\xff\xe0\x00\x00", "\xff\xd8\xff\xe0\x00\x01", "BM", "II*\x00\xff\xff\xff\x7f", "II*\x00\x00\x00\x00\x00", "GIF89a", "RIFF0000WEBPVP8 ", string(png(0, 5)), string(png(5, 0))},
	} {
		for _, b := range all {
			_, _, _, err := Inspect([]byte(b), 0)
			if !errors.Is(err, ErrNotImage) || !strings.Contains(err.Error(), text) {
				t.Errorf("%q: %v", b, err)
			} else if !strings.Contains(text, "damaged") && !strings.Contains(err.Error(), accepted) {
				t.Errorf("%q: %v does not say what is accepted", b, err)
			}
		}
	}
}

// A header that is cut anywhere is an error or says the same.
func TestFault32_CutHeaders(t *testing.T) {
	for name, b := range samples(t) {
		_, w, h, _ := Inspect(b, 0)
		for n := range min(len(b), 2000) {
			_, cw, ch, err := Inspect(b[:n], 0)
			if err != nil && !errors.Is(err, ErrNotImage) || err == nil && (cw != w || ch != h) {
				t.Fatalf("%s cut at %d: %d x %d, %v", name, n, cw, ch, err)
			}
		}
	}
}

// FuzzInspect compares with the standard library's decoders: what they accept
// has the same format and size here, unless it is refused as too large.
func FuzzInspect(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	f.Add(png(60000, 60000))
	f.Fuzz(func(t *testing.T, b []byte) {
		format, w, h, err := Inspect(b, defaultPixels)
		if err != nil {
			if w != 0 || h != 0 || !errors.Is(err, ErrNotImage) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%d x %d, %v", w, h, err)
			}
		} else if w < 1 || h < 1 || w > maxSide || h > maxSide || w*h > defaultPixels {
			t.Fatalf("%d x %d passed", w, h)
		}
		c, theirs, oops := image.DecodeConfig(bytes.NewReader(b))
		if oops != nil || c.Width == 0 || c.Height == 0 || errors.Is(err, ErrTooLarge) {
			return
		}
		if err == nil && (theirs != format || c.Width != w || c.Height != h) {
			t.Fatalf("%s %d x %d, the standard library says %s %d x %d", format, w, h, theirs, c.Width, c.Height)
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	for _, name := range []string{"profile.37x23.jpeg", "alpha.37x23.webp", "lzw.37x23.tiff"} {
		data := samples(b)[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := Inspect(data, defaultPixels); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
