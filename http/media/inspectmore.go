package media

import "encoding/binary"

// webpSize: RFC 9649. A simple file holds one bitstream; an extended one has a
// canvas, and a bitstream or frames that must fit it: a decoder takes the size
// from the bitstream.
func webpSize(b []byte) (w, h int64, ok bool) {
	r := reader{b: b[12:], order: binary.LittleEndian}
	kind, data := chunk(&r)
	switch kind {
	case "VP8 ", "VP8L":
		return bitstreamSize(kind, data)
	case "VP8X":
		if len(data) < 10 {
			return 0, 0, false
		}
		x := reader{b: data[4:], order: binary.LittleEndian}
		w, h = x.u24()+1, x.u24()+1
	}
	for !r.broken {
		switch kind, data = chunk(&r); kind {
		case "VP8 ", "VP8L":
			bw, bh, ok := bitstreamSize(kind, data)
			return w, h, ok && bw == w && bh == h
		case "ANMF":
			return w, h, frameFits(data, w, h)
		}
	}
	return 0, 0, false
}

// chunk takes a chunk of a RIFF file. The last one may be cut off.
func chunk(r *reader) (kind string, data []byte) {
	kind = string(r.take(4))
	n := r.u32()
	if r.broken {
		return "", nil
	}
	if n > int64(len(r.b)) {
		data, r.b, r.broken = r.b, nil, true
		return kind, data
	}
	data = r.take(n)
	if n%2 == 1 && len(r.b) > 0 {
		r.take(1)
	}
	return kind, data
}

// bitstreamSize reads the head of a VP8 key frame (RFC 6386, 9.1) or of a
// lossless image (RFC 9649, 3.4).
func bitstreamSize(kind string, data []byte) (w, h int64, ok bool) {
	r := reader{b: data, order: binary.LittleEndian}
	if kind == "VP8L" {
		if r.u8() != 0x2f {
			return 0, 0, false
		}
		n := r.u32()
		return n&0x3fff + 1, n>>14&0x3fff + 1, !r.broken
	}
	if tag := r.u24(); tag&1 != 0 || r.u24() != 0x2a019d { // a key frame's start code
		return 0, 0, false
	}
	w, h = r.u16()&0x3fff, r.u16()&0x3fff
	return w, h, !r.broken
}

// frameFits says whether an animation's frame lies within the canvas, and its
// bitstream within the frame.
func frameFits(data []byte, w, h int64) bool {
	r := reader{b: data, order: binary.LittleEndian}
	x, y := 2*r.u24(), 2*r.u24()
	fw, fh := r.u24()+1, r.u24()+1
	r.take(4)
	if r.broken || x+fw > w || y+fh > h {
		return false
	}
	for !r.broken {
		if kind, data := chunk(&r); kind == "VP8 " || kind == "VP8L" {
			bw, bh, ok := bitstreamSize(kind, data)
			return ok && bw == fw && bh == fh
		}
	}
	return false
}

// TIFF's tags of an image's size and the types they may have.
const (
	tiffWidth, tiffHeight = 256, 257
	tiffShort, tiffLong   = 3, 4
)

// tiffSize: TIFF 6.0. The first directory may lie anywhere; its entries are
// sorted.
func tiffSize(b []byte) (w, h int64, ok bool) {
	r := reader{b: b, order: binary.LittleEndian}
	if b[0] == 'M' {
		r.order = binary.BigEndian
	}
	r.take(4)
	at := r.u32()
	if r.broken || at < 8 || at > int64(len(b)) {
		return 0, 0, false
	}
	r.b = b[at:]
	last := int64(-1)
	for range r.u16() {
		tag, kind, count := r.u16(), r.u16(), r.u32()
		value := reader{b: r.take(4), order: r.order}
		if r.broken || tag <= last {
			return 0, 0, false
		}
		last = tag
		if tag != tiffWidth && tag != tiffHeight {
			continue
		}
		var v int64
		switch {
		case count == 1 && kind == tiffShort:
			v = value.u16()
		case count == 1 && kind == tiffLong:
			v = value.u32()
		default:
			return 0, 0, false
		}
		if tag == tiffWidth {
			w = v
		} else {
			h = v
		}
	}
	return w, h, !r.broken
}
