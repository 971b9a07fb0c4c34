package tokenize

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The fixtures hold the answers of the reference library (testdata/make.py); every comparison here is for equality.

// fixture is a tokenizer and what the library gives for the texts.
type fixture struct {
	Tokenizer          json.RawMessage
	IDs                [][]int32 // with special tokens
	Encoding, Decoding []uint32  // crc32 of encodingDigest, decodingDigest
	Pairs              []pairCase
	Truncations        []truncationCase
	Streams            [][2]uint32 // text, crc32 of what each token adds
}

type pairCase struct {
	a, b   int
	ids    []int32
	digest uint32
}

func (c *pairCase) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&c.a, &c.b, &c.ids, &c.digest})
}

type truncationCase struct {
	a, b, most, stride int // b -1: one text
	left               bool
	strategy           string
	ids                []int32 // nil: the library refuses
	overflow           [][]int32
}

func (c *truncationCase) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&c.a, &c.b, &c.most, &c.stride, &c.left, &c.strategy, &c.ids, &c.overflow})
}

func readGzip(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(name, err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(name, err)
	}
	return b
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(readGzip(t, name), v); err != nil {
		t.Fatal(name, err)
	}
}

var texts = sync.OnceValue(func() (out []string) {
	b, err := os.Open(filepath.Join("testdata", "texts.json.gz"))
	if err != nil {
		panic(err)
	}
	defer b.Close()
	z, err := gzip.NewReader(b)
	if err != nil {
		panic(err)
	}
	if err := json.NewDecoder(z).Decode(&out); err != nil {
		panic(err)
	}
	return out
})

// withCharsmap puts SentencePiece's map where the fixtures have a name for it.
func withCharsmap(t testing.TB, b []byte) []byte {
	if !bytes.Contains(b, []byte("@nmt_nfkc")) {
		return b
	}
	return bytes.ReplaceAll(b, []byte("@nmt_nfkc"), []byte(base64.StdEncoding.EncodeToString(readGzip(t, "charsmap.gz"))))
}

func loadFixture(t testing.TB, name string) (*Tokenizer, *fixture) {
	t.Helper()
	var f fixture
	readJSON(t, name+".json.gz", &f)
	k, err := Parse(withCharsmap(t, f.Tokenizer))
	if err != nil {
		t.Fatal(name, err)
	}
	return k, &f
}

func fixtureNames(t testing.TB) (names []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		switch n := strings.TrimSuffix(filepath.Base(f), ".json.gz"); n {
		case "texts", "repos", "unicode":
		default:
			names = append(names, n)
		}
	}
	if len(names) < 20 {
		t.Fatalf("only %d fixtures", len(names))
	}
	return names
}

func nums[T any](a []T) string { return strings.Trim(fmt.Sprint(a), "[]") }

func flags(a []bool) string {
	n := make([]int, len(a))
	for i, b := range a {
		if b {
			n[i] = 1
		}
	}
	return nums(n)
}

func crc(parts ...string) uint32 { return crc32.ChecksumIEEE([]byte(strings.Join(parts, "\n"))) }

func encodingDigest(e, plain *Encoding) uint32 {
	var offsets []int
	for _, o := range e.Offsets {
		offsets = append(offsets, o[0], o[1])
	}
	return crc(nums(plain.IDs), nums(e.TypeIDs), flags(e.Special), nums(offsets), strings.Join(e.Tokens, "\x00"))
}

func decodingDigest(k *Tokenizer, ids []int32) uint32 {
	return crc(k.Decode(ids, true), k.Decode(ids, false))
}

// checkTexts compares encodings and decodings of all texts.
func checkTexts(t *testing.T, k *Tokenizer, f *fixture) {
	t.Helper()
	if len(f.IDs) != len(texts()) {
		t.Fatalf("%d answers for %d texts", len(f.IDs), len(texts()))
	}
	for i, s := range texts() {
		e := k.Encode(s, true)
		switch plain := k.Encode(s, false); {
		case !slices.Equal(e.IDs, f.IDs[i]):
			t.Errorf("text %d %.80q: ids %v, library %v", i, s, e.IDs, f.IDs[i])
		case encodingDigest(e, plain) != f.Encoding[i]:
			t.Errorf("text %d %.80q: type ids, offsets or tokens differ: %v %q", i, s, e.Offsets, e.Tokens)
		case decodingDigest(k, e.IDs) != f.Decoding[i]:
			t.Errorf("text %d %.80q: decoded to %q", i, s, k.Decode(e.IDs, true))
		}
		if ids, cut := k.IDs(s, true, 0); cut != 0 || !slices.Equal(ids, e.IDs) {
			t.Errorf("text %d %.80q: IDs gives %v, Encode %v", i, s, ids, e.IDs)
		}
	}
}

func TestEveryLayoutGivesTheLibrarysTokens(t *testing.T) {
	for _, name := range fixtureNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, f := loadFixture(t, name)
			checkTexts(t, k, f)
			for _, c := range f.Pairs {
				e := k.EncodePair(texts()[c.a], texts()[c.b], true)
				if !slices.Equal(e.IDs, c.ids) {
					t.Errorf("pair %d, %d: ids %v, library %v", c.a, c.b, e.IDs, c.ids)
				} else if crc(nums(e.TypeIDs), flags(e.Special), strings.Join(e.Tokens, "\x00")) != c.digest {
					t.Errorf("pair %d, %d: type ids or tokens differ: %v", c.a, c.b, e.TypeIDs)
				}
			}
		})
	}
}

func TestTruncationIsTheLibrarys(t *testing.T) {
	strategies := map[string]Strategy{"longest_first": LongestFirst, "only_first": OnlyFirst, "only_second": OnlySecond}
	for _, name := range fixtureNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, f := loadFixture(t, name)
			for _, c := range f.Truncations {
				var second *string
				whole := k.Encode(texts()[c.a], true)
				if c.b >= 0 {
					second = &texts()[c.b]
					whole = k.EncodePair(texts()[c.a], *second, true)
				}
				e, err := k.Truncate(texts()[c.a], second, true, Truncation{MaxLength: c.most, Stride: c.stride, Strategy: strategies[c.strategy], Left: c.left, Overflow: true})
				if (err != nil) != (c.ids == nil) {
					t.Errorf("%+v: error %v", c, err)
					continue
				}
				if err != nil {
					continue
				}
				if !slices.Equal(e.IDs, c.ids) {
					t.Errorf("%+v: ids %v", c, e.IDs)
				}
				if got := len(whole.IDs) - len(e.IDs); e.Cut != got {
					t.Errorf("%+v: Cut %d, %d tokens are missing", c, e.Cut, got)
				}
				if !slices.EqualFunc(e.Overflow, c.overflow, func(a *Encoding, b []int32) bool { return slices.Equal(a.IDs, b) }) {
					t.Errorf("%+v: %d overflow parts", c, len(e.Overflow))
				}
				if c.b < 0 && !c.left && c.stride == 0 {
					if ids, cut := k.IDs(texts()[c.a], true, c.most); !slices.Equal(ids, c.ids) || cut != e.Cut {
						t.Errorf("%+v: IDs gives %v, cut %d", c, ids, cut)
					}
				}
			}
		})
	}
}

func TestStreamGivesTheLibrarysPieces(t *testing.T) {
	for _, name := range fixtureNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, f := loadFixture(t, name)
			for _, c := range f.Streams {
				d := k.DecodeStream(true)
				var parts []string
				for _, id := range f.IDs[c[0]] {
					parts = append(parts, d.Next(id))
				}
				if crc(strings.Join(parts, "\x00")) != c[1] {
					t.Errorf("text %d %.80q: %q", c[0], texts()[c[0]], parts)
				}
				if all, whole := strings.Join(parts, "")+d.Flush(), k.Decode(f.IDs[c[0]], true); all != whole {
					t.Errorf("text %d: streamed %q, decoded %q", c[0], all, whole)
				}
			}
		})
	}
}

func TestLowercaseFirstIsTheLibrarysLowercaseStep(t *testing.T) {
	k, _ := loadFixture(t, "bert-cased")
	_, f := loadFixture(t, "bert-cased-lowercase")
	checkTexts(t, k.LowercaseFirst(), f)
	lower, _ := loadFixture(t, "bert-uncased")
	if lower.LowercaseFirst() != lower {
		t.Error("a tokenizer that lower-cases got a second step")
	}
}

// TestSlowFilesGiveTheSameTokens loads vocab.txt, merges.txt and SentencePiece models.
func TestSlowFilesGiveTheSameTokens(t *testing.T) {
	var repos []struct {
		Equals string
		Files  map[string][]byte
	}
	readJSON(t, "repos.json.gz", &repos)
	for _, r := range repos {
		t.Run(r.Equals, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range r.Files {
				if strings.HasSuffix(name, ".model") && name != "tokenizer.model" {
					b = append(b, charsmapField(readGzip(t, "charsmap.gz"))...)
				}
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			k, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			var f fixture
			readJSON(t, r.Equals+".json.gz", &f)
			checkTexts(t, k, &f)
		})
	}
}

// charsmapField is normalizer_spec.precompiled_charsmap as a field of the model; fields of the same number are merged.
func charsmapField(charsmap []byte) []byte {
	field := func(tag byte, b []byte) []byte {
		out := []byte{tag}
		n := len(b)
		for ; n >= 0x80; n >>= 7 {
			out = append(out, byte(n)|0x80)
		}
		return append(append(out, byte(n)), b...)
	}
	return field(3<<3|2, field(2<<3|2, charsmap))
}

func TestEveryCodePointIsSeenAsTheLibrarySeesIt(t *testing.T) {
	var kinds []struct {
		Normalizer   json.RawMessage
		PreTokenizer json.RawMessage `json:"pre_tokenizer"`
		CRC          []uint32
	}
	readJSON(t, "unicode.json.gz", &kinds)
	blocks := make([]string, 0x110000/4096)
	for b := range blocks {
		var s strings.Builder
		for c := rune(b) * 4096; c < rune(b+1)*4096; c++ {
			if c < 0xD800 || c > 0xDFFF {
				fmt.Fprintf(&s, "a%cb %c%c %c\u0301 ", c, c, c, c)
			}
		}
		blocks[b] = s.String()
	}
	for i, kind := range kinds {
		t.Run(fmt.Sprintf("%d %.60s %.60s", i, kind.Normalizer, kind.PreTokenizer), func(t *testing.T) {
			t.Parallel()
			k := &Tokenizer{}
			if err := k.parseNormalizer(withCharsmap(t, kind.Normalizer)); err != nil {
				t.Fatal(err)
			}
			if err := k.parsePreTokenizer(kind.PreTokenizer); err != nil {
				t.Fatal(err)
			}
			for b, s := range blocks {
				if raceDetector && b%16 != 1 {
					continue
				}
				x := text{s: s}
				if k.normalizer != nil {
					k.normalizer.normalize(&x)
				}
				pieces := pretokenized(k.pre, x)
				if got := crc(strings.Join(pieces, "\x00")); got != kind.CRC[b] {
					t.Errorf("code points %X to %X differ", b*4096, b*4096+4095)
				}
			}
		})
	}
}

func pretokenized(pre []preTokenizer, x text) (pieces []string) {
	if len(pre) == 0 {
		return []string{x.s}
	}
	pre[0].split(x, func(y text) { pieces = append(pieces, pretokenized(pre[1:], y)...) })
	return pieces
}
