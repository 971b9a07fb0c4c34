package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
)

// newHash is the hash whose hex sum is the etag: SHA-256 of the content, or
// for 40 digits git's SHA-1 over "blob ", the length, a NUL and the content.
func newHash(etag string, size int64) hash.Hash {
	if len(etag) == 2*sha256.Size {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// hashFile says whether the content of a file is what an etag names.
func hashFile(ctx context.Context, at, etag string) (bool, error) {
	f, err := os.Open(at)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	h := newHash(etag, info.Size())
	block := make([]byte, hashBlock)
	for {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		n, err := f.Read(block)
		h.Write(block[:n])
		if err == io.EOF {
			return sum(h) == etag, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// hashBlock is read and hashed at once, in bytes: small enough to stay in the
// L2 cache and to notice a cancel.
const hashBlock = 1 << 20
