package cuda

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Cache keeps what the driver's compiler made of PTX text, so that a second start does not compile. A file is named by
// the hash of the text, the GPU's capability and the driver's version, begins with a hash of its contents, and appears
// by a rename: whoever reads it, another process as well, sees all of it or nothing. What cannot be read is a miss; a
// folder that cannot be written is said once and costs only time. The zero value caches nothing.
type Cache struct {
	Folder string
	Limit  int64 // bytes; the files used longest ago go first. 0 means 256 MiB
	Log    *slog.Logger

	once sync.Once
	uses Uses
	mu   sync.Mutex
}

// Uses counts what a Cache did.
type Uses struct{ Hits, Misses, Corrupt, Stored, Evicted int }

const (
	cacheExt     = ".cubin"
	cacheMagic   = "cubin\x00v1" // and the SHA-256 of the rest
	cacheDefault = 256 << 20
	cacheHeader  = len(cacheMagic) + sha256.Size
	cubinLimit   = 128 << 20 // no kernel file of ours comes near
)

// Load loads PTX text by way of the cache. The log is the compiler's, empty on a hit.
func (k *Cache) Load(c Context, ptx []byte) (Module, string, error) {
	if k == nil || k.Folder == "" || !IsPTX(ptx) || !c.Properties().CompilesPTX {
		return c.Load(ptx)
	}
	path := filepath.Join(k.Folder, k.key(c.Properties(), ptx)+cacheExt)
	if cubin := k.read(path); cubin != nil {
		m, _, err := c.Load(cubin)
		if err == nil {
			k.count(func(u *Uses) { u.Hits++ })
			now := time.Now()
			_ = os.Chtimes(path, now, now) // a folder that cannot be written forgets what was used last
			return m, "", nil
		}
		if errors.Is(err, ErrSticky) || errors.Is(err, ErrOutOfMemory) {
			return 0, "", err
		}
		k.drop(path) // whole, and yet not what this driver takes
	}
	k.count(func(u *Uses) { u.Misses++ })
	cubin, log, err := c.Compile(ptx)
	if errors.Is(err, ErrNotSupported) {
		return c.Load(ptx)
	}
	if err != nil {
		return 0, log, err
	}
	m, _, err := c.Load(cubin)
	if err != nil {
		return 0, log, err
	}
	if err := k.store(path, cubin); err != nil {
		k.once.Do(func() {
			if k.Log != nil {
				k.Log.Warn("compiled kernels are not kept: every start compiles them anew", "folder", k.Folder, "error", err)
			}
		})
	}
	return m, log, nil
}

// Uses is what the cache did so far.
func (k *Cache) Uses() Uses {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.uses
}

func (k *Cache) count(f func(*Uses)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.uses)
}

func (k *Cache) key(p *Properties, ptx []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "capability %d driver %d\n", p.Capability(), p.DriverVersion)
	h.Write(ptx)
	return hex.EncodeToString(h.Sum(nil))
}

// read is the file's cubin, or nil.
func (k *Cache) read(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if info.Size() <= int64(cacheHeader) || info.Size() > cubinLimit {
		k.drop(path)
		return nil
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil
	}
	sum := sha256.Sum256(b[cacheHeader:])
	if string(b[:len(cacheMagic)]) != cacheMagic || !bytes.Equal(b[len(cacheMagic):cacheHeader], sum[:]) {
		k.drop(path)
		return nil
	}
	return b[cacheHeader:]
}

// drop removes a corrupt file.
func (k *Cache) drop(path string) {
	k.count(func(u *Uses) { u.Corrupt++ })
	_ = os.Remove(path) // the next store replaces it anyway
}

func (k *Cache) store(path string, cubin []byte) error {
	if len(cubin) > cubinLimit-cacheHeader {
		return fmt.Errorf("a cubin of %d bytes", len(cubin))
	}
	if err := os.MkdirAll(k.Folder, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(k.Folder, "new-*"+cacheExt+".part")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(cubin)
	_, err = f.Write(slices.Concat([]byte(cacheMagic), sum[:], cubin))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	k.count(func(u *Uses) { u.Stored++ })
	return k.trim(path)
}

// trim removes the files used longest ago until the rest fits, and what a killed process left half written. The file
// just stored stays.
func (k *Cache) trim(stored string) error {
	limit := k.Limit
	if limit <= 0 {
		limit = cacheDefault
	}
	entries, err := os.ReadDir(k.Folder)
	if err != nil {
		return err
	}
	var files []fs.FileInfo
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // another process removed it
		}
		switch {
		case strings.HasSuffix(info.Name(), cacheExt):
			files = append(files, info)
			total += info.Size()
		case strings.HasSuffix(info.Name(), cacheExt+".part") && time.Since(info.ModTime()) > time.Hour:
			_ = os.Remove(filepath.Join(k.Folder, info.Name()))
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		path := filepath.Join(k.Folder, f.Name())
		if total <= limit {
			break
		}
		if path == stored {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= f.Size()
		k.count(func(u *Uses) { u.Evicted++ })
	}
	return nil
}
