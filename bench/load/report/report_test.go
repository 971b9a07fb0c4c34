package report

import (
	"bytes"
	"strings"
	"testing"
)

func TestGoals(t *testing.T) {
	met, missing := AtMost("p99", 3, "ms", 3), AtMost("p99", 3.1, "ms", 3)
	enough, few := AtLeast("share", 1, "", 0.99), AtLeast("share", 0.9, "", 0.99)
	for name, c := range map[string]struct {
		list []Measure
		want bool
	}{
		"no goal":           {[]Measure{Plain("n", 5, "")}, false},
		"all met":           {[]Measure{met, enough}, false},
		"one above":         {[]Measure{met, missing}, true},
		"one not reached":   {[]Measure{few, met}, true},
		"nothing was asked": {nil, false},
	} {
		if Missed(c.list) != c.want {
			t.Errorf("%s: Missed is %v", name, !c.want)
		}
	}
	var stdout, stderr bytes.Buffer
	if err := Write("overload", []Measure{missing, few, Plain("sent", 12, "")}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"what":"overload","measure":"p99","value":3.1,"unit":"ms","goal":3,"met":false}`,
		`{"what":"overload","measure":"share","value":0.9,"unit":"","goal":0.99,"at_least":true,"met":false}`,
		`{"what":"overload","measure":"sent","value":12,"unit":""}`,
	} {
		if !strings.Contains(stdout.String(), want+"\n") {
			t.Errorf("no line %s in\n%s", want, stdout.String())
		}
	}
	if !strings.Contains(stderr.String(), "<= 3") || !strings.Contains(stderr.String(), ">= 0.99") || strings.Count(stderr.String(), "MISSED") != 2 {
		t.Error(stderr.String())
	}
}
