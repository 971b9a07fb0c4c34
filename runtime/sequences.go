package runtime

// Sequences says which rows belong together. There is one for each batch or step, shared by all layers. Sequences are
// packed: no row is padding, so no attention mask exists and a text's result does not depend on its neighbours.
type Sequences struct {
	Lens   []int      // host: rows of each; upper bounds while recording
	Cum    Tensor     // I32 [n+1, 1] first row of each, then the total
	Pos    Tensor     // I32 [T, 1] positions, filled by the host by the family's rule
	Map    Tensor     // I32 [T', 1] row indirection, -1 = Attn.Pad: windows without copies
	Keys   *Sequences // sequences of k and v in cross attention; nil = the same
	KeyOf  Tensor     // I32 [n, 1]: which of Keys it reads
	Freq   Tensor     // I32 [n, 1]: its row of Rotary.Freqs; no rows = row 0
	Cache  *Cache     // nil: k and v are this call's rows
	Table  Tensor     // I32 [n, blocks]: block table
	Past   Tensor     // I32 [n, 1]: rows cached before this call
	Angles []Tensor   // F32 [T, 2·half] cos then sin, one for each rotary of the model
	Phase  Phase
}

// Pack uploads cumulative lengths and positions as scratch; a nil pos counts from 0 in each sequence.
func Pack(b Backend, lens []int, pos []int32) *Sequences {
	cum := make([]int32, len(lens)+1)
	for i, n := range lens {
		cum[i+1] = cum[i] + int32(n)
	}
	total := int(cum[len(lens)])
	if pos == nil {
		pos = make([]int32, 0, total)
		for _, n := range lens {
			for p := range n {
				pos = append(pos, int32(p))
			}
		}
	}
	s := &Sequences{Lens: lens, Cum: b.Scratch(len(cum), 1, I32), Pos: b.Scratch(total, 1, I32)}
	b.Upload(s.Cum, cum)
	b.Upload(s.Pos, pos)
	return s
}

// Rows is the number of packed rows, T.
func (s *Sequences) Rows() int {
	n := 0
	for _, l := range s.Lens {
		n += l
	}
	return n
}

// Over is s with keys and values from other sequences: cross attention.
func (s *Sequences) Over(keys *Sequences) *Sequences {
	c := *s
	c.Keys = keys
	return &c
}
