package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// maxSide is the longest side of an image, in pixels.
const maxSide = 1 << 14

// formats are what Inspect accepts, in the order of its error text.
var formats = []struct {
	name  string
	match func(b []byte) bool
	size  func(b []byte) (width, height int64, ok bool)
}{
	{"jpeg", prefix("\xff\xd8\xff"), jpegSize},
	{"png", prefix("\x89PNG\r\n\x1a\n"), pngSize},
	{"gif", func(b []byte) bool { return prefix("GIF87a")(b) || prefix("GIF89a")(b) }, gifSize},
	{"webp", func(b []byte) bool { return prefix("RIFF")(b) && len(b) >= 12 && string(b[8:12]) == "WEBP" }, webpSize},
	{"bmp", prefix("BM"), bmpSize},
	{"tiff", func(b []byte) bool { return prefix("II*\x00")(b) || prefix("MM\x00*")(b) }, tiffSize},
}

const accepted = "accepted are JPEG, PNG, GIF, WebP, BMP and TIFF"

// Inspect reads the header of an image, whatever name or type came with it, and
// decodes nothing: so it takes neither time nor memory. maxPixels bounds width
// times height of what a decoder would make; 0 means no bound.
//
// The headers are read here rather than by each format's decoder, because those
// exist in the standard library for three of the six only, and allocate.
func Inspect(b []byte, maxPixels int64) (format string, width, height int, err error) {
	for _, f := range formats {
		if !f.match(b) {
			continue
		}
		w, h, ok := f.size(b)
		switch {
		case !ok || w < 1 || h < 1:
			return "", 0, 0, fmt.Errorf("%w: its %s header is damaged or cut off", ErrNotImage, f.name)
		case w > maxSide || h > maxSide:
			return "", 0, 0, fmt.Errorf("%w: %d x %d pixels; a side may have %d", ErrTooLarge, w, h, maxSide)
		case maxPixels > 0 && w*h > maxPixels:
			return "", 0, 0, fmt.Errorf("%w: %d x %d pixels; an image may have %d", ErrTooLarge, w, h, maxPixels)
		}
		return f.name, int(w), int(h), nil
	}
	if name := other(b); name != "" {
		return "", 0, 0, fmt.Errorf("%w of an accepted format: it is %s; %s", ErrNotImage, name, accepted)
	}
	return "", 0, 0, fmt.Errorf("%w; %s", ErrNotImage, accepted)
}

func prefix(p string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(p)) }
}

// other names what people send instead of an image that is accepted.
func other(b []byte) string {
	switch {
	case len(b) == 0:
		return "empty"
	case prefix("PK")(b):
		return "a zip file"
	case prefix("%PDF")(b):
		return "a PDF file"
	case prefix("\x1f\x8b")(b):
		return "compressed"
	case prefix("\xff\x0a")(b), prefix("\x00\x00\x00\x0cJXL ")(b):
		return "JPEG XL"
	case prefix("\x00\x00\x00\x0cjP  ")(b):
		return "JPEG 2000"
	case prefix("II+\x00")(b), prefix("MM\x00+")(b):
		return "BigTIFF"
	}
	if len(b) >= 12 && string(b[4:8]) == "ftyp" {
		switch brand := string(b[8:12]); brand {
		case "avif", "avis":
			return "AVIF"
		case "heic", "heix", "hevc", "heim", "heis", "mif1", "msf1":
			return "HEIC"
		}
		return "a video"
	}
	head := strings.ToLower(string(bytes.TrimLeft(b[:min(len(b), 1024)], "\xef\xbb\xbf \t\r\n")))
	switch {
	case !strings.HasPrefix(head, "<"):
		return ""
	case strings.Contains(head, "<svg"):
		return "SVG"
	case strings.Contains(head, "<html"):
		return "HTML"
	}
	return "XML"
}

// reader takes numbers from a header; once it has run over the end it is
// broken and gives zeros.
type reader struct {
	b      []byte
	order  binary.ByteOrder
	broken bool
}

func (r *reader) take(n int64) []byte {
	if r.broken || n < 0 || n > int64(len(r.b)) {
		r.broken = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u8() int64 {
	if b := r.take(1); b != nil {
		return int64(b[0])
	}
	return 0
}

func (r *reader) u16() int64 {
	if b := r.take(2); b != nil {
		return int64(r.order.Uint16(b))
	}
	return 0
}

func (r *reader) u24() int64 { // little-endian only, of WebP
	if b := r.take(3); b != nil {
		return int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
	}
	return 0
}

func (r *reader) u32() int64 {
	if b := r.take(4); b != nil {
		return int64(r.order.Uint32(b))
	}
	return 0
}

// pngSize: ISO 15948. IHDR is the first chunk.
func pngSize(b []byte) (w, h int64, ok bool) {
	r := reader{b: b, order: binary.BigEndian}
	r.take(8)
	if n := r.u32(); n != 13 || string(r.take(4)) != "IHDR" {
		return 0, 0, false
	}
	w, h = r.u32(), r.u32()
	r.take(5 + 4) // the rest of the chunk and its checksum
	return w, h, !r.broken
}

// gifSize: GIF89a, the logical screen; decoders refuse frames beyond it.
func gifSize(b []byte) (w, h int64, ok bool) {
	r := reader{b: b, order: binary.LittleEndian}
	r.take(6)
	w, h = r.u16(), r.u16()
	r.take(3)
	return w, h, !r.broken
}

// bmpSize: the size stands in one of two headers that follow the file's; a
// negative height means that rows go down.
func bmpSize(b []byte) (w, h int64, ok bool) {
	r := reader{b: b, order: binary.LittleEndian}
	r.take(14)
	switch n := r.u32(); {
	case n == 12:
		w, h = r.u16(), r.u16()
	case n >= 40 && n <= 256:
		w, h = int64(int32(r.u32())), int64(int32(r.u32()))
		h = max(h, -h)
	default:
		return 0, 0, false
	}
	planes := r.u16()
	r.u16()
	return w, h, planes == 1 && !r.broken
}

// jpegSize: ISO 10918-1. Segments are passed over up to the frame header.
func jpegSize(b []byte) (w, h int64, ok bool) {
	r := reader{b: b, order: binary.BigEndian}
	r.take(2)
	for !r.broken {
		if r.u8() != 0xff {
			return 0, 0, false
		}
		marker := r.u8()
		for marker == 0xff { // fill
			marker = r.u8()
		}
		switch {
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd7: // without a length
			continue
		case marker == 0 || marker == 0xd8 || marker == 0xd9 || marker == 0xda:
			return 0, 0, false // no frame header before the data
		}
		n := r.u16() - 2
		if marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc {
			if n < 6 {
				return 0, 0, false
			}
			r.u8() // bits
			h, w = r.u16(), r.u16()
			r.take(n - 5)
			return w, h, !r.broken
		}
		r.take(n)
	}
	return 0, 0, false
}
