package text

import (
	"math/rand/v2"
	"testing"
)

// TestBlocksAreNeverLostNorGivenTwice shares blocks out at random and keeps books beside it.
func TestBlocksAreNeverLostNorGivenTwice(t *testing.T) {
	const blocks, rows = 12, 4
	p := newPool(blocks, rows)
	rng := rand.New(rand.NewPCG(1, 2))
	holders := map[int32]int{}
	called := map[int32]name{} // what a block was called when its content was written
	for range 20000 {
		switch rng.IntN(4) {
		case 0:
			i, ok := p.take(int32(rng.IntN(blocks+1)) - 1)
			if ok != (len(holders) < blocks) {
				t.Fatalf("take says %v with %d of %d blocks held", ok, len(holders), blocks)
			}
			if ok {
				if holders[i] != 0 {
					t.Fatalf("block %d is given twice", i)
				}
				holders[i] = 1
				delete(called, i)
			}
		case 1:
			for i := range holders {
				p.drop(i)
				if holders[i]--; holders[i] == 0 {
					delete(holders, i)
				}
				break
			}
		case 2:
			for i := range holders {
				if _, ok := called[i]; !ok {
					n := after(name{}, []int32{int32(rng.IntN(8))}, 0)
					p.call(i, n)
					if p.known[n] == i {
						called[i] = n
					}
				}
				break
			}
		case 3:
			n := after(name{}, []int32{int32(rng.IntN(8))}, 0)
			if i, ok := p.find(n); ok {
				if called[i] != n {
					t.Fatalf("block %d is found by a name that is not its content's", i)
				}
				holders[i]++
			}
		}
		if p.used() != len(holders) {
			t.Fatalf("%d blocks used, %d held", p.used(), len(holders))
		}
	}
}

func TestABlockIsKeptUntilItIsNeeded(t *testing.T) {
	p := newPool(3, 4)
	named := map[name]int32{}
	for k := range int32(3) {
		i, _ := p.take(-1)
		n := after(name{}, []int32{k}, 0)
		p.call(i, n)
		p.drop(i)
		named[n] = i
	}
	first, second := after(name{}, []int32{0}, 0), after(name{}, []int32{1}, 0)
	if i, ok := p.find(first); !ok || i != named[first] {
		t.Fatal("the first block is not found")
	}
	if _, ok := p.find(after(name{}, []int32{0}, 1)); ok {
		t.Fatal("a block of other frequencies is found")
	}
	if i, _ := p.take(-1); i != named[second] {
		t.Errorf("block %d was taken, the longest unused is %d", i, named[second])
	}
	if _, ok := p.find(second); ok {
		t.Error("a block that is written anew is found by its old name")
	}
}
