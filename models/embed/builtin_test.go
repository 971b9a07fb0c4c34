package embed

import (
	"context"
	"testing"

	"remote-client-server/runtime/cpu"
)

// paraphrases are pairs that say nearly the same in different words; none of them is in the training text.
var paraphrases = [][2]string{
	{"What can I do if I cannot remember my password?", "I forgot my login and need a new one."},
	{"The train to Berlin leaves at noon.", "When does the next train depart?"},
	{"Heat the oil and fry the onions.", "Cook the onions in a hot pan."},
	{"A man is playing a guitar.", "Someone performs music on a string instrument."},
	{"The stock market fell sharply today.", "Share prices dropped this morning."},
	{"Plants make sugar from sunlight.", "Photosynthesis turns light into energy."},
	{"The doctor examined the patient.", "A physician looked at the sick man."},
	{"My dog loves to swim in the lake.", "The puppy enjoys playing in water."},
	{"He repaired the engine of the car.", "The mechanic fixed the vehicle."},
	{"It will rain tomorrow.", "The weather forecast says showers."},
	{"The court sentenced him to prison.", "The judge sent the criminal to jail."},
	{"She teaches mathematics at school.", "The teacher gives lessons in algebra."},
}

// The built-in model finds every sentence's partner, and puts partners visibly closer than strangers.
func TestTheBuiltInModelKnowsWhatBelongsTogether(t *testing.T) {
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	m, err := Builtin(b, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var texts []Text
	for _, p := range paraphrases {
		for _, s := range p {
			text, err := m.Encode(s, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
	}
	v, err := m.Run(context.Background(), texts, Options{})
	if err != nil {
		t.Fatal(err)
	}
	partners, strangers, n := 0.0, 0.0, 0
	for i := range v {
		closest, best := -1, -2.0
		for j := range v {
			if i == j {
				continue
			}
			cos := 0.0
			for k := range v[i] {
				cos += float64(v[i][k]) * float64(v[j][k])
			}
			if cos > best {
				closest, best = j, cos
			}
			if j == i^1 {
				partners += cos / float64(len(v))
			} else {
				strangers += cos
				n++
			}
		}
		if closest != i^1 {
			t.Errorf("%q is closest to %q", paraphrases[i/2][i%2], paraphrases[closest/2][closest%2])
		}
	}
	strangers /= float64(n)
	t.Logf("partners at %.2f, strangers at %.2f on average", partners, strangers)
	if partners < strangers+0.4 {
		t.Errorf("partners at %.2f, strangers at %.2f on average: want 0.4 between them", partners, strangers)
	}
}
