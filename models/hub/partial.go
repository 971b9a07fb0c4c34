package hub

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// A file arrives in pieces, several at once, in one file of its full size. A
// journal beside it keeps how many bytes of each piece are there, so that a
// download that was killed goes on. The names are none that another client
// would take for a file that has arrived up to its length.
const (
	partialEnd = ".ranges.incomplete"
	journalEnd = ".ranges.journal"
)

// A journal is a header of 32 bytes (the text, then the file's size and the
// size of a piece) and 8 bytes a piece, all little endian.
var journalText = []byte("hub ranges 1\n\x00\x00\x00")

const journalHeader = 32

// partial is a file that arrives.
type partial struct {
	name    string // in the target, without its end
	size    int64
	piece   int64
	file    *os.File
	journal *os.File

	mu    sync.Mutex
	have  []int64 // bytes of each piece, from its beginning
	front int     // the first piece that is not whole
	grown chan struct{}
}

func partialName(name, etag string) string { return downloadDir + "/" + shortHash(name) + "." + etag }

// openPartial opens a partial file, or a new one in pieces of the given size.
func (t *target) openPartial(name string, e entry, piece int64) (*partial, error) {
	p := &partial{name: partialName(name, e.etag()), size: e.Size, piece: piece, grown: make(chan struct{}, 1)}
	var err error
	if p.file, err = t.open(p.name + partialEnd); err != nil {
		return nil, err
	}
	if p.journal, err = t.open(p.name + journalEnd); err != nil {
		p.file.Close()
		return nil, err
	}
	info, err := p.file.Stat()
	if err != nil || info.Size() != p.size || !p.load() {
		if err := p.reset(piece); err != nil {
			p.close()
			return nil, t.failed(err)
		}
	}
	return p, nil
}

// load reads the journal; false where it is none of this file.
func (p *partial) load() bool {
	info, err := p.journal.Stat()
	if err != nil || info.Size() < journalHeader {
		return false
	}
	head := make([]byte, journalHeader)
	if _, err := p.journal.ReadAt(head, 0); err != nil || !bytes.HasPrefix(head, journalText) {
		return false
	}
	size, piece := int64(binary.LittleEndian.Uint64(head[16:])), int64(binary.LittleEndian.Uint64(head[24:]))
	if size != p.size || piece <= 0 || info.Size() != journalHeader+8*pieces(size, piece) || pieces(size, piece) > maxPieces {
		return false
	}
	body := make([]byte, 8*pieces(size, piece))
	if _, err := p.journal.ReadAt(body, journalHeader); err != nil && len(body) > 0 {
		return false
	}
	p.piece, p.have = piece, make([]int64, len(body)/8)
	for i := range p.have {
		p.have[i] = int64(binary.LittleEndian.Uint64(body[8*i:]))
		if p.have[i] < 0 || p.have[i] > p.length(i) {
			return false
		}
	}
	p.advance()
	return true
}

// maxPieces bounds a journal; the largest file has as many.
const maxPieces = 1 << 20

func pieces(size, piece int64) int64 { return (size + piece - 1) / piece }

// reset begins anew, in pieces of the given size.
func (p *partial) reset(piece int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.piece = max(piece, (p.size+maxPieces-1)/maxPieces, 1)
	p.have, p.front = make([]int64, pieces(p.size, p.piece)), 0
	head := make([]byte, journalHeader+8*len(p.have))
	copy(head, journalText)
	binary.LittleEndian.PutUint64(head[16:], uint64(p.size))
	binary.LittleEndian.PutUint64(head[24:], uint64(p.piece))
	err := p.journal.Truncate(0)
	if err == nil {
		err = p.file.Truncate(0)
	}
	if err == nil {
		err = p.file.Truncate(p.size)
	}
	if err == nil {
		_, err = p.journal.WriteAt(head, 0)
	}
	return err
}

// length is that of piece i.
func (p *partial) length(i int) int64 { return min(p.piece, p.size-int64(i)*p.piece) }

// span is what is still missing of piece i: [from, to).
func (p *partial) span(i int) (from, to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := int64(i) * p.piece
	return start + p.have[i], start + p.length(i)
}

// there is how many bytes are there.
func (p *partial) there() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.have {
		n += h
	}
	return n
}

// append writes the next bytes of piece i: the data first, then the journal,
// so that what the journal says is there.
func (p *partial) append(i int, b []byte) error {
	at, to := p.span(i)
	if at+int64(len(b)) > to {
		return fmt.Errorf("piece %d would be too long", i)
	}
	if _, err := p.file.WriteAt(b, at); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have[i] += int64(len(b))
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(p.have[i]))
	_, err := p.journal.WriteAt(n[:], journalHeader+8*int64(i))
	p.advance()
	select {
	case p.grown <- struct{}{}:
	default:
	}
	return err
}

func (p *partial) advance() {
	for p.front < len(p.have) && p.have[p.front] == p.length(p.front) {
		p.front++
	}
}

// frontier is how many bytes from the beginning are there without a gap.
func (p *partial) frontier() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.front == len(p.have) {
		return p.size
	}
	return int64(p.front)*p.piece + p.have[p.front]
}

// digest hashes the file while it arrives: it follows the frontier and reads
// back what was just written, which is still in the page cache. Its end is the
// file's, or that of ctx.
func (p *partial) digest(ctx context.Context, etag string) (string, error) {
	h := newHash(etag, p.size)
	block := make([]byte, min(hashBlock, max(p.size, 1)))
	for pos := int64(0); pos < p.size; {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n := min(p.frontier()-pos, int64(len(block)))
		if n <= 0 {
			select {
			case <-ctx.Done():
			case <-p.grown:
			}
			continue
		}
		if _, err := p.file.ReadAt(block[:n], pos); err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		h.Write(block[:n])
		pos += n
	}
	return sum(h), nil
}

func (p *partial) close() {
	p.file.Close()
	p.journal.Close()
}

// drop closes and deletes a partial file that is no good.
func (t *target) drop(p *partial) {
	p.close()
	_ = t.root.Remove(p.name + partialEnd)
	_ = t.root.Remove(p.name + journalEnd)
}

// install puts a whole and hashed partial file into its place. The journal
// goes last: without it the file would have to come again.
func (t *target) install(name, commit string, e entry) error {
	if dir := parent(name); dir != "" {
		if err := t.mkdirs(dir); err != nil {
			return err
		}
	}
	at := partialName(name, e.etag())
	f, err := t.root.OpenFile(at+partialEnd, os.O_RDWR, 0)
	if err != nil {
		return t.failed(err)
	}
	if err := t.place(f, at+partialEnd, name, f.Sync()); err != nil {
		return err
	}
	if err := t.root.Remove(at + journalEnd); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t.failed(err)
	}
	return t.record(name, commit, e.etag())
}
