package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The golden files of torch 2.15: a f32 [2,3] = 0..5, b the same object, t its transpose, h f16 [2].
const (
	goldenPickle = "800263636f6c6c656374696f6e730a4f726465726564446963740a71002952710128580100000061710263746f7263682e5f7574696c730a5f72656275696c64" +
		"5f74656e736f725f76320a71032828580700000073746f72616765710463746f7263680a466c6f617453746f726167650a710558010000003071065803000000" +
		"63707571074b06747108514b004b024b038671094b034b0186710a8968002952710b74710c52710d580100000062710e680d580100000074710f680328286804" +
		"6805680668074b06747110514b004b034b028671114b014b0386711289680029527113747114527115580100000068711668032828680463746f7263680a4861" +
		"6c6653746f726167650a7117580100000031711868074b02747119514b004b0285711a4b0185711b8968002952711c74711d52711e752e"
	goldenLegacy = "80028a0a6cfc9c46f9206aa850192e80024de9032e80027d710028581000000070726f746f636f6c5f76657273696f6e71014de903580d0000006c6974746c65" +
		"5f656e6469616e710288580a000000747970655f73697a657371037d710428580500000073686f727471054b025803000000696e7471064b0458040000006c6f" +
		"6e6771074b0475752e800263636f6c6c656374696f6e730a4f726465726564446963740a71002952710128580100000061710263746f7263682e5f7574696c73" +
		"0a5f72656275696c645f74656e736f725f76320a71032828580700000073746f72616765710463746f7263680a466c6f617453746f726167650a710558090000" +
		"003737343732393230307106580300000063707571074b064e747108514b004b024b038671094b034b0186710a8968002952710b74710c52710d580100000062" +
		"710e680d580100000074710f68032828680468055809000000373734373239323030711068074b064e747111514b004b034b028671124b014b03867113896800" +
		"29527114747115527116580100000068711768032828680463746f7263680a48616c6653746f726167650a71185809000000373132373637383536711968074b" +
		"024e74711a514b004b0285711b4b0185711c8968002952711d74711e52711f752e80025d71002858090000003731323736373835367101580900000037373437" +
		"32393230307102652e0200000000000000003c00b80600000000000000000000000000803f0000004000004040000080400000a040"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// archive packs entries as torch does; odd writes sizes behind the data and an extra field of 37 bytes.
func archive(odd bool, entries map[string][]byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range entries {
		h := &zip.FileHeader{Name: name, Method: zip.Store}
		var err error
		if odd {
			h.Extra = append([]byte{'F', 'B', 33, 0}, bytes.Repeat([]byte{'Z'}, 33)...)
			w, e := z.CreateHeader(h) // streamed: a data descriptor follows
			if err = e; err == nil {
				_, err = w.Write(data)
			}
		} else {
			h.UncompressedSize64, h.CompressedSize64 = uint64(len(data)), uint64(len(data))
			w, e := z.CreateRaw(h)
			if err = e; err == nil {
				_, err = w.Write(data)
			}
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func golden(pickle []byte) map[string][]byte {
	return map[string][]byte{
		"mini/data.pkl": pickle,
		"mini/data/0":   unhex("000000000000803f0000004000004040000080400000a040"),
		"mini/data/1":   unhex("003c00b8"),
		"mini/version":  []byte("3\n"),
	}
}

func TestGoldenTorchFiles(t *testing.T) {
	for name, data := range map[string][]byte{
		"zip":                            archive(false, golden(unhex(goldenPickle))),
		"zip with descriptors and extra": archive(true, golden(unhex(goldenPickle))),
		"legacy":                         unhex(goldenLegacy),
	} {
		c, err := Bytes(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for k, want := range map[string]string{
			"a": "[2 3] [0 1 2 3 4 5]", "b": "[2 3] [0 1 2 3 4 5]", "t": "[3 2] [0 3 1 4 2 5]", "h": "[2] [1 -0.5]",
		} {
			x, _ := c.Lookup(k)
			if got := fmt.Sprint(x.Shape, " ", values(t, x)); got != want {
				t.Errorf("%s: %s is %s, want %s", name, k, got, want)
			}
		}
		if len(c.Names()) != 4 {
			t.Errorf("%s: tensors %v", name, c.Names())
		}
	}
}

// call is a pickle that calls module.name() and makes the result the state dict.
func call(module, name string) []byte {
	return []byte("\x80\x02c" + module + "\n" + name + "\n)R.")
}

func TestHostilePickles(t *testing.T) {
	replace := func(old, new string) []byte {
		p := unhex(goldenPickle)
		if !bytes.Contains(p, []byte(old)) {
			panic(old)
		}
		return bytes.Replace(p, []byte(old), []byte(new), 1)
	}
	for name, s := range map[string]struct {
		pickle []byte
		want   string
	}{
		"os.system":             {call("os", "system"), "os.system"},
		"posix.system":          {call("posix", "system"), "posix.system"},
		"builtins.eval":         {call("builtins", "eval"), "builtins.eval"},
		"a module class":        {call("torch.nn.modules.linear", "Linear"), "torch.nn.modules.linear.Linear"},
		"by two strings":        {[]byte("\x80\x04\x8c\x02os\x8c\x06system\x93)R."), "os.system"},
		"INST":                  {[]byte("\x80\x02(ios\nsystem\n."), "opcode 0x69"},
		"an unset memo":         {[]byte("\x80\x02h\x07."), "memo slot 7"},
		"a short tuple":         {[]byte("\x80\x02K\x01\x87."), "stack is empty"},
		"a mark as a value":     {[]byte("\x80\x02(\x85."), "mark"},
		"no mark":               {[]byte("\x80\x02t."), "no mark"},
		"a list as state dict":  {[]byte("\x80\x02]."), "not a state dict"},
		"an empty state dict":   {[]byte("\x80\x02}."), "no tensors"},
		"protocol 9":            {[]byte("\x80\x09}."), "protocol 9"},
		"a huge string":         {[]byte("\x80\x02X\xff\xff\xff\x7f"), "string of"},
		"append to a number":    {[]byte("\x80\x02K\x01K\x02a."), "append to"},
		"a stack without end":   {append([]byte("\x80\x02"), bytes.Repeat([]byte("N"), 20_000)...), "on the stack"},
		"marks without end":     {append([]byte("\x80\x02"), bytes.Repeat([]byte("("), 20_000)...), "on the stack"},
		"a negative size":       {replace("K\x02K\x03\x86q\x09", "J\xff\xff\xff\xffK\x03\x86q\x09"), "size -1"},
		"a size that overflows": {replace("K\x02K\x03\x86q\x09", "J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86q\x09"), "tensor a"},
		"past the storage":      {replace("QK\x00K\x02K\x03\x86q\x09", "QK\x01K\x02K\x03\x86q\x09"), "reach past"},
		"a long storage":        {replace("cpuq\x07K\x06", "cpuq\x07M\xff\xff"), "storage 0 has 24 bytes"},
		"a missing storage":     {replace("X\x01\x00\x00\x000q\x06", "X\x01\x00\x00\x009q\x06"), "storage 9 is missing"},
	} {
		if _, err := Bytes(archive(false, golden(s.pickle))); err == nil || !strings.Contains(err.Error(), s.want) {
			t.Errorf("%s: %v, want %q", name, err, s.want)
		}
	}
	p := unhex(goldenPickle)
	for n := range p {
		if _, err := Bytes(archive(false, golden(p[:n]))); err == nil {
			t.Errorf("the pickle cut at byte %d is accepted", n)
		}
	}
	l := unhex(goldenLegacy)
	for n := 2; n < len(l); n++ {
		if _, err := Bytes(l[:n]); err == nil {
			t.Errorf("the legacy file cut at byte %d is accepted", n)
		}
	}
}

func TestRefusedContainers(t *testing.T) {
	with := func(name, text string) []byte {
		g := golden(unhex(goldenPickle))
		g[name] = []byte(text)
		return archive(false, g)
	}
	tar := make([]byte, 600)
	copy(tar[257:], "ustar")
	for name, s := range map[string]struct {
		data []byte
		want string
	}{
		"big-endian":       {with("mini/byteorder", "big"), `byte order "big"`},
		"TorchScript":      {with("mini/constants.pkl", ""), "TorchScript"},
		"two objects":      {with("other/data.pkl", ""), "two data.pkl"},
		"no object":        {archive(false, map[string][]byte{"mini/version": []byte("3\n")}), "no data.pkl"},
		"tar":              {tar, "tar archive"},
		"a plain pickle":   {[]byte("\x80\x04}."), "plain pickle"},
		"a cut-off zip":    {archive(false, golden(unhex(goldenPickle)))[:300], "zip"},
		"a legacy pickle9": {append(append([]byte{}, legacyMagic...), "\x80\x02M\x01\x02."...), "pickle"},
	} {
		if _, err := Bytes(s.data); err == nil || !strings.Contains(err.Error(), s.want) {
			t.Errorf("%s: %v, want %q", name, err, s.want)
		}
	}
}

func FuzzTorch(f *testing.F) {
	f.Add(archive(true, golden(unhex(goldenPickle))))
	f.Add(unhex(goldenLegacy))
	for _, name := range []string{"zip.bin", "legacy.bin", "wrapped.bin"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if isTorch(data) {
			touch(t, data)
		}
	})
}

// FuzzPickle reaches the interpreter without a container around it that mutations would break.
func FuzzPickle(f *testing.F) {
	f.Add(unhex(goldenPickle))
	f.Add(call("os", "system"))
	f.Fuzz(func(t *testing.T, pickle []byte) {
		touch(t, archive(false, golden(pickle)))
	})
}
