package tokenize

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// wordLevelFile is the smallest tokenizer.json; more is added behind the vocabulary or around the model.
const wordLevelFile = `{"model":{"type":"WordLevel","vocab":{"[UNK]":0,"a":1},"unk_token":"[UNK]"}}`

func TestBrokenTokenizerFilesAreRefusedByName(t *testing.T) {
	bpe := func(vocab, merges string) string {
		return `{"model":{"type":"BPE","vocab":` + vocab + `,"merges":` + merges + `}}`
	}
	with := func(section string) string { return strings.TrimSuffix(wordLevelFile, "}") + "," + section + "}" }
	for _, c := range []struct{ name, file, want string }{
		{"empty", ``, "tokenizer.json"},
		{"not an object", `[]`, "tokenizer.json"},
		{"cut off", wordLevelFile[:40], "tokenizer.json"},
		{"text behind the end", wordLevelFile + "x", "behind the end"},
		{"no model", `{}`, "model: is missing"},
		{"model of a wrong type", `{"model":7}`, "model"},
		{"unknown model", `{"model":{"type":"Magic","vocab":{}}}`, `model: type "Magic" is not known`},
		{"no vocabulary", `{"model":{"type":"BPE","merges":[]}}`, "vocab is missing"},
		{"no merges", `{"model":{"type":"BPE","vocab":{}}}`, "merges is missing"},
		{"vocabulary of a wrong type", `{"model":{"type":"WordLevel","vocab":[1],"unk_token":"x"}}`, "vocab"},
		{"id of a wrong type", bpe(`{"a":"b"}`, `[]`), "vocab"},
		{"negative id", bpe(`{"a":-1}`, `[]`), "vocab"},
		{"absurd id", bpe(`{"a":1099511627776}`, `[]`), `"1099511627776" is no token id`},
		{"fractional id", bpe(`{"a":1.5}`, `[]`), "is no token id"},
		{"id out of proportion", bpe(`{"a":9000000}`, `[]`), "vocab: id 9000000 is out of proportion"},
		{"merge of unknown tokens", bpe(`{"a":0}`, `["a b"]`), `merges[0]: "b" is not in the vocabulary`},
		{"merge without result", bpe(`{"a":0,"b":1}`, `["a b"]`), `merges[0]: "ab" is not in the vocabulary`},
		{"merge of one token", bpe(`{"a":0}`, `["a"]`), "merges[0]"},
		{"merge of three tokens", bpe(`{"a":0}`, `[["a","a","a"]]`), "merges[0]"},
		{"merge of a wrong type", bpe(`{"a":0}`, `[7]`), "merges[0]"},
		{"dropout", `{"model":{"type":"BPE","vocab":{},"merges":[],"dropout":0.1}}`, "dropout"},
		{"unknown token missing", `{"model":{"type":"WordPiece","vocab":{"a":0},"unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100}}`, "unk_token"},
		{"unigram without scores", `{"model":{"type":"Unigram","vocab":[["a"]]}}`, "vocab[0]"},
		{"unigram score of a wrong type", `{"model":{"type":"Unigram","vocab":[["a","b"]]}}`, "vocab[0]"},
		{"unk_id beyond the vocabulary", `{"model":{"type":"Unigram","unk_id":7,"vocab":[["a",0]]}}`, "unk_id 7"},
		{"negative unk_id", `{"model":{"type":"Unigram","unk_id":-7,"vocab":[["a",0]]}}`, "unk_id -7"},
		{"unknown normalizer", with(`"normalizer":{"type":"Magic"}`), `normalizer: type "Magic" is not known`},
		{"normalizer without type", with(`"normalizer":{}`), "normalizer: type is missing"},
		{"normalizer without a key", with(`"normalizer":{"type":"BertNormalizer","clean_text":true}`), "handle_chinese_chars is missing"},
		{"nested normalizer", with(`"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Prepend"}]}`), "normalizers[1]: Prepend: prepend is missing"},
		{"broken charsmap", with(`"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}`), "precompiled_charsmap"},
		{"charsmap of no base64", with(`"normalizer":{"type":"Precompiled","precompiled_charsmap":"%"}`), "precompiled_charsmap"},
		{"lying charsmap", with(`"normalizer":{"type":"Precompiled","precompiled_charsmap":"/P///wAAAAA="}`), "precompiled_charsmap"},
		{"look-behind", with(`"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?<=a)b"},"behavior":"Isolated","invert":false}`), "(?<=a)b"},
		{"look-ahead", with(`"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a(?=b)"},"behavior":"Isolated","invert":false}`), "a(?=b)"},
		{"other negative look-ahead", with(`"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a(?!b)"},"behavior":"Isolated","invert":false}`), "a(?!b)"},
		{"back-reference", with(`"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a)\\1"},"behavior":"Isolated","invert":false}`), `\\1`},
		{"unclosed group", with(`"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated","invert":false}`), "unclosed group"},
		{"huge repetition", with(`"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a{1000000}"},"behavior":"Isolated","invert":false}`), "bad repetition"},
		{"repetition of repetitions", with(`"pre_tokenizer":{"type":"Split","pattern":{"Regex":"((a{1000}){1000}){1000}"},"behavior":"Isolated","invert":false}`), "beyond the supported size"},
		{"nested groups", with(`"pre_tokenizer":{"type":"Split","pattern":{"Regex":"` + strings.Repeat("(", 500) + `"},"behavior":"Isolated","invert":false}`), "nested deeper"},
		{"empty pattern", with(`"pre_tokenizer":{"type":"Split","pattern":{"String":""},"behavior":"Isolated","invert":false}`), "pattern: an empty String"},
		{"unknown behavior", with(`"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Sideways","invert":false}`), `behavior "Sideways"`},
		{"metaspace of two characters", with(`"pre_tokenizer":{"type":"Metaspace","replacement":"ab"}`), "replacement"},
		{"pieces of no length", with(`"pre_tokenizer":{"type":"FixedLength","length":0}`), "length 0"},
		{"unknown pre-tokenizer", with(`"pre_tokenizer":{"type":"Magic"}`), `pre_tokenizer: type "Magic" is not known`},
		{"unknown post-processor", with(`"post_processor":{"type":"Magic"}`), `post_processor: type "Magic" is not known`},
		{"template with an unknown token", with(`"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}}],"pair":[],"special_tokens":{}}`), "single[0]"},
		{"template with an absurd id", with(`"post_processor":{"type":"TemplateProcessing","single":[],"pair":[],"special_tokens":{"x":{"id":"x","ids":[4294967296],"tokens":["x"]}}}`), "4294967296"},
		{"template with too few ids", with(`"post_processor":{"type":"TemplateProcessing","single":[],"pair":[],"special_tokens":{"x":{"id":"x","ids":[],"tokens":["x"]}}}`), "0 ids for 1 tokens"},
		{"two templates", with(`"post_processor":{"type":"Sequence","processors":[{"type":"BertProcessing","sep":["a",1],"cls":["a",1]},{"type":"BertProcessing","sep":["a",1],"cls":["a",1]}]}`), "processors[1]"},
		{"unknown decoder", with(`"decoder":{"type":"Magic"}`), `decoder: type "Magic" is not known`},
		{"added token without content", with(`"added_tokens":[{"id":1}]`), "added_tokens: [0]: content is missing"},
		{"added token with a negative id", with(`"added_tokens":[{"id":-1,"content":"x"}]`), "id -1"},
		{"added token of a wrong type", with(`"added_tokens":[7]`), "added_tokens: [0]"},
		{"unknown truncation strategy", with(`"truncation":{"max_length":7,"strategy":"Sideways"}`), `strategy "Sideways"`},
		{"negative length", with(`"truncation":{"max_length":-7}`), "max_length -7"},
		{"absurd padding", with(`"padding":{"strategy":{"Fixed":1099511627776},"pad_id":0,"pad_token":"x"}`), "Fixed"},
		{"endless sequences", with(`"normalizer":` + strings.Repeat(`{"type":"Sequence","normalizers":[`, 5000)), "nested deeper"},
		{"deep arrays", with(`"x":` + strings.Repeat("[", 1_000_000)), "nested deeper"},
		{"long sequence", with(`"decoder":{"type":"Sequence","decoders":[` + strings.Repeat(`{"type":"Fuse"},`, 1000) + `{"type":"Fuse"}]}`), "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := Parse([]byte(c.file))
			if err == nil {
				t.Fatalf("loaded as %v", k.VocabSize())
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not name %q", err, c.want)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestOddButValidFilesLoad(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"a merge of a token with itself", `{"model":{"type":"BPE","vocab":{"a":0,"aa":1,"aaaa":2},"merges":["a a","aa aa"]}}`, "aaaaaaa", "2 1 0"},
		{"a merge into one of its own parts", `{"model":{"type":"BPE","vocab":{"a":0,"":1},"merges":[["a",""]]}}`, "aa", "0 0"},
		{"a token twice, the last one counts", `{"model":{"type":"WordLevel","vocab":{"a":0,"a":1,"?":2},"unk_token":"?"}}`, "a", "1"},
		{"a piece twice, the last one counts", `{"model":{"type":"Unigram","unk_id":0,"vocab":[["?",0],["a",-1],["a",-2]]}}`, "a", "2"},
		{"an unknown character without unknown token", `{"model":{"type":"Unigram","vocab":[["a",-1]]}}`, "xax", "0"},
		{"an empty vocabulary", `{"model":{"type":"BPE","vocab":{},"merges":[]}}`, "abc", ""},
		{"keys that nobody knows", `{"zzz":[{}],"model":{"type":"WordLevel","vocab":{"a":0,"?":1},"unk_token":"?","yyy":null}}`, "a", "0"},
		{"escapes and surrogates", `{"model":{"type":"WordLevel","vocab":{"\ud83d\ude00\u00e9":0,"\ud83d":1},"unk_token":"\ud83d"}}`, "😀é", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := Parse([]byte(c.file))
			if err != nil {
				t.Fatal(err)
			}
			if ids, _ := k.IDs(c.text, true, 0); nums(ids) != c.want {
				t.Errorf("ids %v, want %s", ids, c.want)
			}
		})
	}
}

// TestGreedyFilesStayWithinBounds loads files that would grow a text without end.
func TestGreedyFilesStayWithinBounds(t *testing.T) {
	many := func(step string) string { return strings.TrimSuffix(strings.Repeat(step+",", 60), ",") }
	for name, section := range map[string]string{
		"replace":      `"normalizer":{"type":"Sequence","normalizers":[` + many(`{"type":"Replace","pattern":{"String":"a"},"content":"`+strings.Repeat("a", 1000)+`"}`) + `]}`,
		"prepend":      `"normalizer":{"type":"Sequence","normalizers":[` + many(`{"type":"Prepend","prepend":"`+strings.Repeat("a", 10000)+`"}`) + `]}`,
		"byte level":   `"normalizer":{"type":"Sequence","normalizers":[` + many(`{"type":"ByteLevel"}`) + `]}`,
		"decoder":      `"decoder":{"type":"Sequence","decoders":[` + many(`{"type":"Replace","pattern":{"String":"a"},"content":"`+strings.Repeat("a", 1000)+`"}`) + `]}`,
		"added tokens": `"normalizer":{"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaa"},"added_tokens":[{"id":7,"content":"` + strings.Repeat("a", 10000) + `","normalized":true}]`,
	} {
		t.Run(name, func(t *testing.T) {
			k, err := Parse([]byte(strings.TrimSuffix(wordLevelFile, "}") + "," + section + "}"))
			if err != nil {
				t.Fatal(err)
			}
			e := k.Encode("a é a", true)
			if n := len(k.Decode(e.IDs, false)); n > 1<<20 {
				t.Errorf("decoded to %d bytes", n)
			}
			total := 0
			for _, s := range e.Tokens {
				total += len(s)
			}
			if total > 1<<20 {
				t.Errorf("tokens of %d bytes", total)
			}
		})
	}
}

func TestBrokenRepositoriesAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nothing", nil, "neither tokenizer.json"},
		{"empty SentencePiece model", map[string]string{"spm.model": ""}, "spm.model: pieces: none"},
		{"SentencePiece model cut off", map[string]string{"spiece.model": "\x0a\xff\x01"}, "spiece.model: field 1: longer"},
		{"SentencePiece model of groups", map[string]string{"tokenizer.model": "\x0b"}, "wire type 3"},
		{"class without conversion", map[string]string{"spiece.model": "\x0a\x00", "tokenizer_config.json": `{"tokenizer_class":"XLNetTokenizer"}`}, "XLNet"},
		{"vocab.txt without [UNK]", map[string]string{"vocab.txt": "a\nb\n"}, "vocab.txt: unk_token"},
		{"vocab.json with a wrong id", map[string]string{"vocab.json": `{"a":-1}`, "merges.txt": ""}, "vocab.json: vocab"},
		{"merges.txt with an unknown token", map[string]string{"vocab.json": `{"a":0}`, "merges.txt": "#version: 0.2\na b\n"}, "merges.txt: line 2"},
		{"tokenizer_config.json with a wrong type", map[string]string{"vocab.txt": "[UNK]\n", "tokenizer_config.json": `{"do_lower_case":"yes"}`}, "tokenizer_config.json: do_lower_case"},
		{"added_tokens.json with an absurd id", map[string]string{"vocab.txt": "[UNK]\n", "added_tokens.json": `{"x":1099511627776}`}, "added_tokens.json"},
		{"absurd extra_ids", map[string]string{"spiece.model": "\x0a\x00", "tokenizer_config.json": `{"extra_ids":1099511627776}`}, "extra_ids"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not name %q", err, c.want)
			}
		})
	}
}

func TestBrokenUTF8BecomesReplacementCharacters(t *testing.T) {
	for _, name := range []string{"bert-uncased", "roberta", "xlm-roberta", "llama2", "gpt4o"} {
		k, _ := loadFixture(t, name)
		for broken, repaired := range map[string]string{
			"a\xffb":             "a\uFFFDb",
			"\xe4\xbd":           "\uFFFD",
			"\xe4\xbd \xe4":      "\uFFFD \uFFFD",
			"\xed\xa0\x80":       "\uFFFD\uFFFD\uFFFD",
			"\xf0\x9f\x98x\xc0a": "\uFFFDx\uFFFDa",
			"\xf4\x90\x80\x80":   "\uFFFD\uFFFD\uFFFD\uFFFD",
		} {
			got, want := k.Encode(broken, true), k.Encode(repaired, true)
			if nums(got.IDs) != nums(want.IDs) {
				t.Errorf("%s: %q gives %v, %q gives %v", name, broken, got.IDs, repaired, want.IDs)
			}
		}
	}
}

func TestOneTokenizerServesManyGoroutines(t *testing.T) {
	for _, name := range []string{"bert-uncased", "roberta", "xlm-roberta", "llama2"} {
		k, f := loadFixture(t, name)
		var wait sync.WaitGroup
		for g := range 8 {
			wait.Go(func() {
				for i := range f.IDs {
					i = (i*(2*g+1) + g) % len(f.IDs)
					if ids, _ := k.IDs(texts()[i], true, 0); nums(ids) != nums(f.IDs[i]) {
						t.Errorf("%s: text %d differs", name, i)
					}
					if k.Decode(f.IDs[i], true) != k.Decode(k.Encode(texts()[i], true).IDs, true) {
						t.Errorf("%s: text %d is decoded differently", name, i)
					}
				}
			})
		}
		wait.Wait()
	}
}

func TestUnknownIDsAreSkipped(t *testing.T) {
	k, _ := loadFixture(t, "bert-uncased")
	ids, _ := k.IDs("hello", false, 0)
	want := k.Decode(ids, false)
	odd := append([]int32{-1, 1 << 30, -1 << 31}, ids...)
	if got := k.Decode(odd, false); got != want {
		t.Errorf("decoded to %q, want %q", got, want)
	}
	d := k.DecodeStream(true)
	got := ""
	for _, id := range odd {
		got += d.Next(id)
	}
	if got += d.Flush(); got != want {
		t.Errorf("streamed %q, want %q", got, want)
	}
	if _, ok := k.IDToToken(-1); ok || k.IsSpecial(-1) {
		t.Error("a negative id is a token")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(wordLevelFile))
	for _, name := range []string{"bert-uncased", "llama2", "clip", "word-level"} {
		var x fixture
		readJSON(f, name+".json.gz", &x)
		var o map[string]any
		if err := json.Unmarshal(x.Tokenizer, &o); err != nil {
			f.Fatal(err)
		}
		m := o["model"].(map[string]any) // a few tokens of it do
		small := map[string]any{"[UNK]": 0, "a": 1, "b": 2, "ab": 3, "<|endoftext|>": 4}
		m["vocab"] = small
		if _, ok := m["merges"]; ok {
			m["merges"] = []string{"a b"}
		}
		b, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"model":{"type":"Unigram","unk_id":0,"byte_fallback":true,"vocab":[["<unk>",0],["a",-1.5],["<0x41>",0]]},"normalizer":{"type":"Precompiled","precompiled_charsmap":"CAAAAAAEAAABAACAAA=="},"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\s+(?!\\S)|\\s+|[^a-z]{1,3}"},"behavior":"MergedWithNext","invert":true}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := Parse(b)
		if err != nil {
			return
		}
		exercise(t, k, "a b  ab<|endoftext|>\n é 你\U0001F600 ")
	})
}

func FuzzSentencePiece(f *testing.F) {
	var repos []struct {
		Equals string
		Files  map[string][]byte
	}
	readJSON(f, "repos.json.gz", &repos)
	for _, r := range repos {
		for name, b := range r.Files {
			if strings.HasSuffix(name, ".model") {
				f.Add(b[:min(len(b), 2000)])
			}
		}
	}
	f.Add([]byte("\x0a\x07\x0a\x05<unk>\x0a\x08\x0a\x01a\x15\x00\x00\x80\xbf\x0a\x08\x0a\x01b\x15\x00\x00\x80\xbf\x12\x02\x18\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, class := range []string{"XLMRoberta", "DebertaV2", "T5", "Llama", "Gemma"} {
			c := &config{legacy: true, extraIDs: 3, special: map[string]addedToken{}, added: map[int32]addedToken{}}
			if k, err := convertSentencePiece(class)(c, [][]byte{b}); err == nil {
				exercise(t, k, "a b  ab</s>\n é 你 ")
			}
		}
	})
}

func FuzzText(f *testing.F) {
	for i, s := range texts() {
		if i%10 == 0 {
			f.Add(s)
		}
	}
	f.Add("a\xff\xf0\x9f")
	var all []*Tokenizer
	for _, name := range []string{"bert-uncased", "roberta-prefix", "xlm-roberta-converted", "deberta-v3", "phi3", "gpt4o", "added-flags", "bpe-affixes", "word-level", "unigram-bytes", "odd-splits", "byte-normalizer"} {
		k, _ := loadFixture(f, name)
		all = append(all, k)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, k := range all {
			exercise(t, k, s)
		}
	})
}

// exercise checks what holds for every tokenizer and text.
func exercise(t *testing.T, k *Tokenizer, s string) {
	e := k.Encode(s, true)
	ids, cut := k.IDs(s, true, 0)
	if nums(ids) != nums(e.IDs) || cut != 0 {
		t.Fatalf("IDs gives %v, Encode %v", ids, e.IDs)
	}
	size := len(toValid(s))
	for i, o := range e.Offsets {
		if o[0] < 0 || o[0] > o[1] || o[1] > size {
			t.Fatalf("offsets %v of token %d are outside the text of %d bytes", o, i, size)
		}
	}
	short, cut := k.IDs(s, true, 5)
	if want := max(len(ids)-5, 0); len(short) > 5 || k.SpecialCount(false) <= 5 && cut != want {
		t.Fatalf("%d ids cut to %d, %d said to be cut", len(ids), len(short), cut)
	}
	d := k.DecodeStream(false)
	var streamed bytes.Buffer
	for _, id := range ids {
		streamed.WriteString(d.Next(id))
	}
	streamed.WriteString(d.Flush())
	whole := k.Decode(ids, false)
	if strings.Contains(whole, "\uFFFD") {
		return // broken characters may be given out one by one
	}
	if streamed.String() != whole && k.decoder != nil {
		t.Logf("streamed %q, decoded %q", streamed.String(), whole)
	}
}
