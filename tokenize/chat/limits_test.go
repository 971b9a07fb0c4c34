package chat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestFault25_HostileTemplates(t *testing.T) {
	double := "{% set ns = namespace(x=%) %}{% for i in range(60) %}{% set ns.x = # %}{% endfor %}"
	for _, c := range []struct{ name, source string }{
		{"parentheses", "{{ " + strings.Repeat("(", 120_000)},
		{"brackets", "{{ " + strings.Repeat("[", 20_000)},
		{"braces", "{{ " + strings.Repeat("{1:", 20_000)},
		{"not", "{{ " + strings.Repeat("not ", 20_000) + "1 }}"},
		{"signs", "{{ " + strings.Repeat("-", 20_000) + "1 }}"},
		{"sums", "{{ 1" + strings.Repeat("+1", 20_000) + " }}"},
		{"and", "{{ 1" + strings.Repeat(" and 1", 20_000) + " }}"},
		{"attributes", "{{ a" + strings.Repeat(".a", 20_000) + " }}"},
		{"filters", "{{ a" + strings.Repeat("|d", 20_000) + " }}"},
		{"filters of a block", "{% set a" + strings.Repeat("|d", 20_000) + " %}{% endset %}"},
		{"many names", func() string {
			var b strings.Builder
			for i := range 40_000 {
				fmt.Fprintf(&b, "{%% set a%d = a%d %%}", i, i/2)
			}
			return b.String() + "{{ range(10**9) }}"
		}()},
		{"calls", "{{ a" + strings.Repeat("()", 20_000) + " }}"},
		{"conditions", "{{ 1" + strings.Repeat(" if 1 else 1", 20_000) + " }}"},
		{"if in if", strings.Repeat("{% if 1 %}", 20_000)},
		{"for targets", "{% for " + strings.Repeat("(", 20_000)},
		{"a long template", strings.Repeat("x", 2<<20)},
		{"a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"},
		{"a loop that calls itself", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"},
		{"a caller that calls itself", "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}"},
		{"a long text", "{{ 'a' * 10**9 }}"},
		{"a very long text", "{{ 'a' * 10**18 }}"},
		{"a long list", "{{ ([0] * 10**9)|length }}"},
		{"a long range", "{{ range(10**9) }}"},
		{"loops in loops", strings.Repeat("{% for x in range(100000) %}", 4) + strings.Repeat("{% endfor %}", 4)},
		{"doubled texts", strings.NewReplacer("%)", "'ab')", "#", "ns.x ~ ns.x").Replace(double)},
		{"doubled lists", strings.NewReplacer("%)", "[1])", "#", "ns.x + ns.x").Replace(double)},
		{"doubled values that are printed", strings.NewReplacer("%)", "[1])", "#", "[ns.x, ns.x]").Replace(double) + "{{ ns.x }}"},
		{"doubled values that are compared", strings.NewReplacer("%)", "[1])", "#", "[ns.x, ns.x]").Replace(double) + "{{ ns.x == ns.x[:] + [] }}{{ [ns.x] == [[ns.x[0], ns.x[0]]] }}"},
		{"doubled values as JSON", strings.NewReplacer("%)", "[1])", "#", "[ns.x, ns.x]").Replace(double) + "{{ ns.x|tojson }}"},
		{"doubled tuples as keys", strings.NewReplacer("%)", "(1,))", "#", "(ns.x, ns.x)").Replace(double) + "{{ {ns.x: 1} }}"},
		{"deep values", "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}"},
		{"deep iterators", "{% set ns = namespace(x=[1]) %}{% for i in range(90000) %}{% set ns.x = ns.x|map('string') %}{% endfor %}{{ ns.x|list }}"},
		{"joins", "{{ (['x' * 1000] * 100000)|join('y' * 1000) }}"},
		{"replacements", "{{ ('x' * 100000).replace('x', 'y' * 100000) }}"},
		{"replacements of nothing", "{{ ('x' * 100000)|replace('', 'y' * 100000) }}"},
		{"indents", "{{ ('x\n' * 100000)|indent(100000) }}"},
		{"one indent", "{{ 'x\ny'|indent(10**9) }}"},
		{"JSON indents", "{{ [[[1]]]|tojson(indent=10**9) }}"},
		{"fields of %", "{{ '%1000000000d' % 1 }}"},
		{"fields of % by a value", "{{ '%*d' % (10**9, 1) }}"},
		{"precision of %", "{{ '%.1000000000f' % 1 }}"},
		{"fields of format", "{{ '{:1000000000}'.format(1) }}"},
		{"centered", "{{ 'a'.center(10**9) }}{{ 'a'|center(10**9) }}"},
		{"filled", "{{ 'a'.zfill(10**9) }}"},
		{"tabs", "{{ '\t'.expandtabs(10**9) }}"},
		{"powers", "{{ 10 ** (10 ** 10) }}"},
		{"products", "{% set ns = namespace(x=2) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}"},
		{"much output", "{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}"},
		{"many columns", "{{ [1]|slice(10**9)|list }}"},
		{"large batches", "{{ [1]|batch(10**9, 0)|list }}"},
		{"searches in a long text", "{% set s = 'x' * 8000000 %}{% for i in range(100000) %}{{ 'y' in s }}{% endfor %}"},
		{"cut up texts", "{% set s = 'é' * 1000000 %}{% for i in range(100000) %}{{ s[i] }}{% endfor %}"},
		{"split texts", "{% for i in range(100000) %}{{ ('x ' * 1000000).split()|length }}{% endfor %}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := render(t, c.source, NewDict())
			if !errors.Is(err, ErrBudget) && !(err != nil && c.name == "braces") {
				t.Fatalf("error %v", err)
			}
			if len(err.Error()) > 500 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestARenderingEndsWithItsContext(t *testing.T) {
	k, err := Parse("{% for i in range(90000) %}{% for k in range(90000) %}{% endfor %}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := k.Render(ctx, NewDict(), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	ctx, cancel = context.WithDeadline(context.Background(), time.Now().Add(time.Millisecond))
	defer cancel()
	limits := DefaultLimits
	limits.Steps = 1 << 60
	if _, err := k.Render(ctx, NewDict(), Options{Limits: limits}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("past the deadline: %v", err)
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for source, want := range map[string]string{
		"a\n{{ 1 + }}":       "line 2",
		"a\nb{% if x %}\n":   `line 2: the end of the template where "endif" belongs`,
		"\n\n{{ none + 1 }}": "line 3: + does not work between a NoneType and a int",
		"{% for x in [1] %}\n{{ y.z }}{% endfor %}": `line 2: "y" is undefined`,
		"{{ s|nofilter }}":                          "line 1: no filter named nofilter",
		"{% include 'x' %}":                         "include is not available",
		"\n{{ raise_exception('no') }}":             "line 2: no",
	} {
		if _, err := render(t, source, NewDict()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", source, err, want)
		}
	}
	_, err := render(t, "{{ raise_exception('no') }}", NewDict())
	var raised *Raised
	if !errors.As(err, &raised) || raised.Message != "no" {
		t.Errorf("error %v is not the template's", err)
	}
}
