package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fault is one thing that goes wrong, which the server survives.
type fault struct {
	number int
	what   string
	// tests, as "folder TestName"; the folder of this package is ".". Those of a
	// model type that is not built yet name the type instead.
	tests []string
	with  string
}

// faults are numbered once and for all: a number is never given again.
var faults = []fault{
	{1, "a header of a megabyte: 431", []string{"http TestFault01_HugeHeader"}, ""},
	{2, "a header or a body that comes slowly: closed at its deadline", []string{"http TestFault02_SlowClients"}, ""},
	{3, "a body over the limit, with and without a length: 413", []string{"http TestFault03_BodyOverTheLimit"}, ""},
	{4, "a compressed body: 415, and it is not inflated", []string{"http TestFault04_CompressedBody"}, ""},
	{5, "a million chunks of one byte: bounded memory", []string{"http TestFault05_OneByteChunks"}, ""},
	{6, "a body that is cut short: 400", []string{"http TestFault06_TruncatedBody"}, ""},
	{7, "a wrong method, route or content type: 405, 404, 415", []string{"http TestFault07_WrongMethodRouteOrType"}, ""},
	{8, "a request whose end is in doubt: 400, and nothing behind it is run", []string{"http TestFault08_Smuggling", "http TestFault08_SmuggledChunks", "http TestFault08_BodyNobodyReads"}, ""},
	{9, "10,000 idle connections: health answers", []string{". TestFault09_IdleConnections"}, ""},
	{10, "JSON 100,000 deep: 400", []string{"http TestFault10_Depth"}, ""},
	{11, "duplicate keys, NaN, 1e999, -0, 2^63: 400 or exact", []string{"http TestFault11_NumbersAndDuplicates"}, ""},
	{12, "invalid UTF-8, half surrogates, NUL: 400 or kept", []string{"http TestFault12_TextThatIsNone"}, ""},
	{13, "null for every field: as if it were not there", []string{"http TestFault13_Null"}, ""},
	{14, "the wrong type for every field: 400 that names it", []string{"bench/contract TestFault14WrongTypes"}, ""},
	{15, "empty messages", []string{"http TestFault15_EmptyMessages"}, ""},
	{16, "a prompt as long as the context, and one token more", []string{"http TestFault16_AsLongAsTheContext"}, ""},
	{17, "max_tokens of 0, -1, 2^31", []string{"http TestFault17_MaxTokens"}, ""},
	{18, "temperature, top_p and top_k past their ends", []string{"http TestFault18_Sampling"}, ""},
	{19, "n of 2^62", []string{"http TestFault19_Choices"}, ""},
	{20, "logit_bias of unknown ids and huge values", []string{"http TestFault20_LogitBias"}, ""},
	{21, "stop words: empty, 10,000, over the edges of tokens", []string{"http TestFault21_StopWords"}, ""},
	{22, "special tokens in a user's text", []string{"http TestFault22_SpecialTokensInAText"}, ""},
	{23, "a hostile JSON schema", []string{"tokenize/grammar TestFault23_HostileSchemas", "tokenize/grammar TestFault23_HostilePatterns", "http TestFault23_Schemas"}, ""},
	{24, "a malformed schema of a tool", []string{"tokenize/toolcall TestFault24_MalformedTools", "http TestFault24_Tools"}, ""},
	{25, "a hostile chat template", []string{"tokenize/chat TestFault25_HostileTemplates", "http TestFault25_TemplateArguments"}, ""},
	{26, "a megabyte without a blank, a million emoji", []string{"http TestFault26_HugeTexts"}, ""},
	{27, "inputs: none, empty, 10,000, of mixed kinds, ids past the vocabulary", []string{"http TestFault27_Inputs"}, ""},
	{28, "dimensions of 0 and one more than there are: 400", []string{"http TestFault28_Dimensions"}, ""},
	{29, "labels: none, twice, 10,000; empty texts", nil, "ner"},
	{30, "images of every layout", []string{"http/media TestFault30_EveryLayout"}, ""},
	{31, "an image that says it is huge", []string{"http/media TestFault31_HeaderSaysHuge", "http/media TestFault31_WebPCanvasLies"}, ""},
	{32, "what is no image: 422", []string{"http/media TestFault32_NotAnImage", "http/media TestFault32_CutHeaders"}, ""},
	{33, "bad base64", []string{"http/media TestFault33_BadBase64"}, ""},
	{34, "image URLs of private addresses: no packet", []string{
		"http/media TestFault34_AddressesThatMayNotBeReached", "http/media TestFault34_HowAURLMayLook", "http/media TestFault34_NoPacketToRefusedAddresses",
		"http/media TestFault34_DialerRefuses", "http/media TestFault34_DomainsAndSwitch",
	}, ""},
	{35, "redirects, DNS and bodies that are hostile", []string{"http/media TestFault35_Redirects", "http/media TestFault35_DNSAnswerThatChanges", "http/media TestFault35_HostileAnswers"}, ""},
	{36, "sizes and steps of an image past their ends", nil, "image"},
	{37, "safetensors that lie: an error at the start", []string{". TestFault37_SafetensorsThatLie"}, ""},
	{38, "config.json and tokenizer.json that are cut or hostile", []string{". TestFault38_HostileSettings"}, ""},
	{39, "a pickle with code: refused, never run", []string{". TestFault39_PickleWithCode"}, ""},
	{40, "a repository's file named ../../x, or a link", []string{
		"models/hub TestFault40UnsafeNamesAreRefused", "models/hub TestFault40UnsafeNamesInsideFilesAreRefused",
		"models/hub TestFault40ReservedNamesAreNeverFetched", "models/hub TestFault40LinksInTheTargetAreNotFollowed",
	}, ""},
	{41, "auto_map and other code of a repository: ignored", []string{". TestFault41_RemoteCode"}, ""},
	{42, "weights that are no numbers: an error at the start", []string{". TestFault42_WeightsThatAreNoNumbers"}, ""},
	{43, "a Hub that fails in every way", []string{
		"models/hub TestFault43TwoProcessesDownloadOnce", "models/hub TestFault43AKilledProcessIsResumed", "models/hub TestFault43AJournalThatLies",
		"models/hub TestFault43NoDiskSpace", "models/hub TestFault43AFolderThatCannotBeWritten", "models/hub TestFault43ACompleteFolderThatCannotBeWrittenLoads",
		"models/hub TestFault43ClockSkew", "models/hub TestFault43Answers", "models/hub TestFault43WaitsBetweenAttempts",
		"models/hub TestFault43ACutAt99PercentGoesOn", "models/hub TestFault43ManyCutsThatBringSomething", "models/hub TestFault43AServerWithoutRanges",
		"models/hub TestFault43SizesThatLie", "models/hub TestFault43RangesThatAreRefused", "models/hub TestFault43WrongBytes",
		"models/hub TestFault43AProxyThatIsDown", "models/hub TestFault43ACaptivePortal", "models/hub TestFault43TheTokenStaysWithItsOrigin",
		"models/hub TestFault43RedirectsAreBounded", "models/hub TestFault43ErrorsShowNoSecrets", "models/hub TestFault43ListingsWithoutEnd",
		"models/hub TestFault43HiddenAndMissingFiles", "models/hub TestFault43TheDiskFillsUp",
	}, ""},
	{44, "a client that goes while its job waits or runs: cancelled, the next is served", []string{"http TestFault44_ClientGone", "http TestFault44_ReaderOfAStreamGone", ". TestFault44_ClientGone"}, ""},
	{45, "SIGTERM while 10,000 jobs wait: every client gets an answer", []string{". TestFault45_SIGTERMWithAFullLine"}, ""},
	{46, "no memory on the device: an error at the start; in the middle of a batch it is split and tried once more", []string{
		"cuda/driver TestFault46_OutOfMemory", "models/embed TestFault46_InTheMiddleOfABatch", "models/text TestFault46_WhileItWrites", ". TestFault46_AtTheStart",
	}, ""},
	{47, "a lost or missing device or driver: the CPU, or an error that says what to do; a lost one ends the process with 3", []string{
		"cuda/driver TestFault47_NoDriver", "cuda/driver TestFault47_OldDriver", "cuda/driver TestFault47_NoDevices",
		"cuda/driver TestFault47_JITCompilerMissing", "cuda/driver TestFault47_KernelsThatDoNotLoad", "cuda/driver TestFault47_TwoProcessesOnOneGPU",
		"cuda/driver TestFault47_ALostDevice", "runtime/gpu TestFault47_KernelsThatNoDriverTakes", ". TestFault47_NoGPU", ". TestFault47_KernelsThatAreRefused",
		". TestFault47_ALostDevice",
	}, ""},
	{48, "a kernel that hangs", []string{"cuda TestFault48_AKernelThatHangs", "runtime/gpu TestFault48_AKernelThatHangs"}, ""},
	{49, "a panic in every kind of goroutine: one request is lost, it is counted", []string{
		"http TestFault49_Handler", "http TestFault49_Worker", "http TestFault49_StreamWriter", "http TestFault49_Observer", "http TestFault49_WatchPoll",
		"http TestFault49_Refusal", "http TestFault49_Drain", ". TestFault49_Guard", ". TestFault49_EveryGoroutineIsKnown",
	}, ""},
	{50, "logits that are no numbers", []string{"models/text TestFault50_LogitsThatAreNoNumbers"}, ""},
	{51, "Redis: absent, slow, gone, read-only, of another kind", []string{
		"status TestFault51_AbsentAtStart", "status TestFault51_HostNotFound", "status TestFault51_DiesLater", "status TestFault51_Slow",
		"status TestFault51_ReadOnlyReplica", "status TestFault51_WrongType", "status TestFault51_GenerationsNoNumber", "status TestFault51_AuthNeeded",
		"status TestFault51_KeyMissing",
	}, ""},
	{52, "two servers of one engine", []string{"status TestFault52_TwoServersOfOneEngine"}, ""},
	{53, "few descriptors, little memory, logs that cannot be written, SIGPIPE, SIGHUP, a clock that jumps", []string{
		". TestFault53_FewDescriptors", ". TestFault53_LittleMemory", ". TestFault53_LogsThatCannotBeWritten", ". TestFault53_Hangup", ". TestFault53_Stopped",
	}, ""},
	{54, "a port in use: exit code 1 and why", []string{". TestFault54_PortInUse"}, ""},
	{55, "wrong flags and variables: exit code 2 and all of them", []string{". TestFault55_AllFaultsAtOnce"}, ""},
}

// sources are the module's Go files by their paths, either the tests or the
// others, without those of bench that are no tests.
func sources(t *testing.T, tests bool) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin" || !tests && d.Name() == "bench"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") != tests:
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		files[filepath.ToSlash(path)] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestTableOfFaults compares the table with the tests that there are.
func TestTableOfFaults(t *testing.T) {
	exists := map[string]bool{} // those named after a fault
	named := regexp.MustCompile(`^TestFault(\d\d)_?[A-Z]`)
	numbers := map[string]int{}
	for path, file := range sources(t, true) {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "TestFault") {
				continue
			}
			test := filepath.ToSlash(filepath.Dir(path)) + " " + f.Name.Name
			m := named.FindStringSubmatch(f.Name.Name)
			if m == nil {
				t.Errorf("%s: the name holds no number and words", test)
				continue
			}
			exists[test] = true
			numbers[test], _ = strconv.Atoi(m[1])
		}
	}
	later := map[string]bool{"ner": true, "vision": true, "image": true, "cuda": true}
	for i, f := range faults {
		switch {
		case f.number != i+1:
			t.Fatalf("fault %d stands where %d should", f.number, i+1)
		case f.what == "":
			t.Errorf("fault %d: nobody says what it is", f.number)
		case (len(f.tests) == 0) != later[f.with]:
			t.Errorf("fault %d has %d tests and comes with %q", f.number, len(f.tests), f.with)
		}
		for _, test := range f.tests {
			if !exists[test] {
				t.Errorf("fault %d: there is no %s", f.number, test)
			}
			if n, ok := numbers[test]; ok && n != f.number {
				t.Errorf("fault %d has the test %s", f.number, test)
			}
			delete(exists, test)
		}
	}
	if len(faults) != 55 {
		t.Errorf("%d faults", len(faults))
	}
	for _, test := range slices.Sorted(maps.Keys(exists)) {
		t.Errorf("%s is not in the table", test)
	}
}
