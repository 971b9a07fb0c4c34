package tokenize

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sort"
	"unicode/utf8"
)

// spModel is what of a SentencePiece model file (sentencepiece_model.proto) a tokenizer is built from.
type spModel struct {
	pieces       []spPiece
	modelType    int64 // 1 unigram, 2 BPE
	byteFallback bool
	unkID        int64
	unkPiece     string
	charsmap     []byte // precompiled, empty for none
}

type spPiece struct {
	text  string
	score float32
	kind  int64
}

const (
	spUnigram = 1
	spBPE     = 2

	spControl     = 3
	spUserDefined = 4
)

// parseSentencePiece reads the protocol buffer; fields that it does not know are skipped.
func parseSentencePiece(b []byte) (*spModel, error) {
	m := &spModel{modelType: spUnigram, unkPiece: "<unk>"}
	err := protoFields(b, func(f protoField) error {
		switch f.number {
		case 1:
			if len(m.pieces) > maxTokenID {
				return errors.New("pieces: too many")
			}
			p, err := parseSPPiece(f.bytes)
			if err != nil {
				return fmt.Errorf("pieces[%d]: %w", len(m.pieces), err)
			}
			m.pieces = append(m.pieces, p)
		case 2:
			return m.parseTrainerSpec(f.bytes)
		case 3:
			err := protoFields(f.bytes, func(f protoField) error {
				if f.number == 2 {
					m.charsmap = f.bytes
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("normalizer_spec: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(m.pieces) == 0 {
		return nil, errors.New("pieces: none")
	}
	return m, nil
}

func parseSPPiece(b []byte) (spPiece, error) {
	p := spPiece{kind: 1}
	err := protoFields(b, func(f protoField) error {
		switch f.number {
		case 1:
			if !utf8.Valid(f.bytes) {
				return errors.New("piece is not UTF-8")
			}
			p.text = string(f.bytes)
		case 2:
			p.score = math.Float32frombits(uint32(f.value))
			if p.score != p.score || math.IsInf(float64(p.score), 0) {
				return errors.New("score is not finite")
			}
		case 3:
			p.kind = int64(f.value)
		}
		return nil
	})
	return p, err
}

func (m *spModel) parseTrainerSpec(b []byte) error {
	err := protoFields(b, func(f protoField) error {
		switch f.number {
		case 3:
			m.modelType = int64(f.value)
		case 35:
			m.byteFallback = f.value != 0
		case 40:
			m.unkID = int64(f.value)
		case 45:
			m.unkPiece = toValid(string(f.bytes))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("trainer_spec: %w", err)
	}
	return nil
}

// protoField is one field of a message: value for numbers, bytes for strings and messages.
type protoField struct {
	number uint64
	value  uint64
	bytes  []byte
}

// protoFields calls each for the fields of a message in order.
func protoFields(b []byte, each func(protoField) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 {
			return errors.New("broken field tag")
		}
		b = b[n:]
		f := protoField{number: tag >> 3}
		short := false
		switch tag & 7 {
		case 0:
			if f.value, n = binary.Uvarint(b); n <= 0 {
				return fmt.Errorf("field %d: broken varint", f.number)
			}
			b = b[n:]
		case 1:
			if short = len(b) < 8; !short {
				f.value, b = binary.LittleEndian.Uint64(b), b[8:]
			}
		case 2:
			size, n := binary.Uvarint(b)
			if n <= 0 {
				return fmt.Errorf("field %d: broken length", f.number)
			}
			if short = size > uint64(len(b)-n); !short {
				f.bytes, b = b[n:n+int(size)], b[n+int(size):]
			}
		case 5:
			if short = len(b) < 4; !short {
				f.value, b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
			}
		default:
			return fmt.Errorf("field %d: wire type %d", f.number, tag&7)
		}
		if short {
			return fmt.Errorf("field %d: longer than the message", f.number)
		}
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}

// spVocabulary builds the tables of pieces with their scores, which become the scores of a Unigram model.
func spVocabulary(pieces []spPiece) (*vocab, []float64, error) {
	var b vocabBuilder
	scores := make([]float64, len(pieces))
	for i, p := range pieces {
		if err := b.addString(p.text, int32(i)); err != nil {
			return nil, nil, err
		}
		scores[i] = float64(p.score)
	}
	v, err := b.build()
	return v, scores, err
}

// maxMergePiece bounds the pieces of a BPE model, whose merges are found by trying every place to cut.
const maxMergePiece = 1 << 10

// spMerges finds the merges of a BPE model: every way to cut a piece into two pieces, ordered by falling score, then
// by falling length of the parts (transformers, convert_slow_tokenizer.generate_merges).
func (m *bpe) spMerges(pieces []spPiece) error {
	type merge struct {
		left, right         string
		score               float32
		leftLen, rightLen   int // in characters
		leftRank, rightRank int32
	}
	score := make(map[string]float32, len(pieces))
	for _, p := range pieces {
		score[p.text] = p.score
	}
	var merges []merge
	done := make(map[string]bool, len(pieces))
	for _, p := range pieces {
		if done[p.text] {
			continue
		}
		done[p.text] = true
		if len(p.text) > maxMergePiece {
			return fmt.Errorf("piece %q is longer than %d bytes", clip(p.text), maxMergePiece)
		}
		first := len(merges)
		total, count := utf8.RuneCountInString(p.text), 0
		for at := range p.text {
			if at > 0 {
				count++
				l, okL := m.vocab.id(p.text[:at])
				r, okR := m.vocab.id(p.text[at:])
				if okL && okR {
					merges = append(merges, merge{p.text[:at], p.text[at:], score[p.text], count, total - count, l, r})
				}
			}
		}
		local := merges[first:]
		sort.SliceStable(local, func(i, j int) bool {
			a, b := &local[i], &local[j]
			return a.leftRank < b.leftRank || a.leftRank == b.leftRank && a.rightRank < b.rightRank
		})
	}
	sort.SliceStable(merges, func(i, j int) bool {
		a, b := &merges[i], &merges[j]
		switch {
		case a.score != b.score:
			return a.score > b.score
		case a.leftLen != b.leftLen:
			return a.leftLen > b.leftLen
		}
		return a.rightLen > b.rightLen
	})
	m.merges = newMergeTable(len(merges))
	var key []byte
	var err error
	for rank, g := range merges {
		if key, err = m.addMerge([]byte(g.left), []byte(g.right), rank, key); err != nil {
			return err
		}
	}
	return nil
}
