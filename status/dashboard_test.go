package status

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is what the test reads of Grafana's file.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type, Definition string
			Query                  json.RawMessage
		}
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Datasource               struct{ UID string }
	Targets                  []struct {
		RefID, Expr string
		Datasource  struct{ UID string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "deploy", "grafana", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// expressions are all queries of a dashboard.
func (d dashboard) expressions() []string {
	var all []string
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	return all
}

func TestDashboardIsReadable(t *testing.T) {
	d := readDashboard(t)
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 38 {
		t.Error(d.Title, d.UID, d.SchemaVersion)
	}
	names := map[string]string{}
	for _, v := range d.Templating.List {
		names[v.Name] = v.Type
	}
	if names["datasource"] != "datasource" || names["model"] != "query" || names["instance"] != "query" {
		t.Errorf("variables: %v", names)
	}
	ids, titles, rows := map[int]bool{}, map[string]bool{}, 0
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%s: id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if taken[at] != "" || at[0] >= 24 {
					t.Fatalf("%s lies over %s or the edge", p.Title, taken[at])
				}
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			rows++
			titles = map[string]bool{}
		}
		if p.Title == "" || titles[p.Title] {
			t.Errorf("panel %d has no title of its own in its row: %q", p.ID, p.Title)
		}
		titles[p.Title] = true
		if p.Type == "row" {
			continue
		}
		if !strings.HasSuffix(p.Description, ".") || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("%s: description %q, unit %q, %d queries", p.Title, p.Description, p.FieldConfig.Defaults.Unit, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.RefID == "" || refs[q.RefID] || q.Datasource.UID != "${datasource}" || p.Datasource.UID != "${datasource}" {
				t.Errorf("%s: query %q of %q", p.Title, q.RefID, q.Datasource.UID)
			}
			refs[q.RefID] = true
			if !strings.Contains(q.Expr, `instance=~"$instance"`) {
				t.Errorf("%s shows all servers: %s", p.Title, q.Expr)
			}
		}
	}
	if rows < 8 {
		t.Errorf("%d rows", rows)
	}
}

// written returns the names that a page's samples have, and the labels.
func written(t *testing.T) (names, labels map[string]bool) {
	t.Helper()
	m := newTest()
	writes(m, false)
	m.Model("nomic", "embed", "nomic_bert", "float32", "cpu", "v1")
	names, labels = map[string]bool{}, map[string]bool{"instance": true, "job": true} // these are the scraper's
	label := regexp.MustCompile(`([a-z_]+)="`)
	for line := range strings.Lines(text(m)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		names[line[:strings.IndexAny(line, "{ ")]] = true
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			labels[l[1]] = true
		}
	}
	return names, labels
}

// The words of PromQL that the dashboard may use; "labels" are followed by a
// list of labels, "functions" by their arguments.
var promql = map[string]string{
	"sum": "function", "avg": "function", "max": "function", "min": "function", "count": "function", "rate": "function",
	"increase": "function", "histogram_quantile": "function", "time": "function", "label_values": "function",
	"by": "labels", "without": "labels", "on": "labels", "ignoring": "labels", "group_left": "labels", "group_right": "labels",
	"and": "operator", "or": "operator", "unless": "operator", "bool": "operator", "offset": "operator",
}

// token is a piece of PromQL: a string, a number or a duration, a name, an
// operator, or one character.
var token = regexp.MustCompile(`^(\s+|"(?:[^"\\]|\\.)*"|[0-9][0-9.]*(?:e[+-]?[0-9]+)?[a-z]*|[a-zA-Z_:$][a-zA-Z0-9_:]*|=~|!~|!=|==|>=|<=|.)`)

// read takes an expression apart into the metrics and labels that it names.
func read(expr string) (metrics, labels []string, err error) {
	const outside, matchers, list, window = "", "{", "(", "["
	place, next := outside, outside
	variable, last := strings.HasPrefix(expr, "label_values"), ""
	for expr != "" {
		word := token.FindString(expr)
		expr = expr[len(word):]
		word = strings.TrimSpace(word)
		isName := word != "" && regexp.MustCompile(`^[a-zA-Z_:]`).MatchString(word)
		switch {
		case word == "":
			continue
		case place == window:
			if word == "]" {
				place = outside
			}
		case place == matchers && word == "}", place == list && word == ")":
			place = outside
		case place != outside && isName:
			labels = append(labels, word)
		case place != outside:
		case word == "{", word == "[":
			place = word
		case word == "(":
			place, next = next, outside
		case isName && promql[word] == "labels":
			next = list
		case isName && promql[word] == "function":
			if !strings.HasPrefix(strings.TrimSpace(expr), "(") && !strings.HasPrefix(strings.TrimSpace(expr), "by") {
				return nil, nil, fmt.Errorf("%s without arguments", word)
			}
		case isName && promql[word] == "operator":
		case isName && variable && last == ",": // the second argument
			labels = append(labels, word)
		case isName && strings.HasPrefix(strings.TrimSpace(expr), "("):
			return nil, nil, fmt.Errorf("%s: a function that is not known", word)
		case isName:
			metrics = append(metrics, word)
		case strings.HasPrefix(word, "$"):
			return nil, nil, fmt.Errorf("%s: a variable where none is expected", word)
		}
		last = word
	}
	if place != outside {
		return nil, nil, fmt.Errorf("%s is not closed", place)
	}
	return metrics, labels, nil
}

func TestDashboardShowsMetricsThatExist(t *testing.T) {
	d := readDashboard(t)
	names, known := written(t)
	all := d.expressions()
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			all = append(all, v.Definition)
			if !strings.Contains(string(v.Query), strings.ReplaceAll(v.Definition, `"`, `\"`)) {
				t.Errorf("variable %s: its definition is not its query %s", v.Name, v.Query)
			}
		}
	}
	shown := map[string]bool{}
	for _, expr := range all {
		metrics, labels, err := read(expr)
		if err != nil || len(metrics) == 0 {
			t.Errorf("%s: %v, metrics %v", expr, err, metrics)
		}
		for _, m := range metrics {
			if !names[m] {
				t.Errorf("%s: no page writes %s", expr, m)
			}
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base := strings.TrimSuffix(m, suffix); families[base].kind == "histogram" {
					m = base
				}
			}
			shown[m] = true
		}
		for _, l := range labels {
			if !known[l] {
				t.Errorf("%s: no metric has a label %s", expr, l)
			}
		}
	}
	for name := range families {
		if strings.HasPrefix(name, "modelserver_") && !shown[name] {
			t.Errorf("%s is nowhere on the dashboard", name)
		}
	}
}

func TestReadingPromQL(t *testing.T) {
	for expr, want := range map[string][2][]string{
		`a_b:c`:       {{"a_b:c"}, nil},
		`rate(x[5m])`: {{"x"}, nil},
		`sum by (le, route) (rate(x_bucket{a=~"b{c", d!="e\"}"}[$__rate_interval])) > 0`: {{"x_bucket"}, {"le", "route", "a", "d"}},
		`sum(x) by (a) / on (b) group_left (c) y{}`:                                      {{"x", "y"}, {"a", "b", "c"}},
		`1e3 * time() - x offset 5m`:                                                     {{"x"}, nil},
		`label_values(x{a="b"}, c)`:                                                      {{"x"}, {"a", "c"}},
		`histogram_quantile(0.5, x)`:                                                     {{"x"}, nil},
	} {
		metrics, labels, err := read(expr)
		if err != nil || !slices.Equal(metrics, want[0]) || !slices.Equal(labels, want[1]) {
			t.Errorf("%s: %v %v %v", expr, metrics, labels, err)
		}
	}
	for _, expr := range []string{`nonsense(x)`, `x{a="b"`, `x[5m`, `rate`, `$x`, `sum by (a`} {
		if _, _, err := read(expr); err == nil {
			t.Errorf("%s: no error", expr)
		}
	}
}

// TestDashboardsQueriesParse asks Prometheus' own parser, where it is installed.
func TestDashboardsQueriesParse(t *testing.T) {
	tool := promtool(t)
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for i, expr := range readDashboard(t).expressions() {
		quoted, err := json.Marshal(strings.ReplaceAll(expr, "$__rate_interval", "5m"))
		if err != nil {
			t.Fatal(err)
		}
		rules += fmt.Sprintf("  - record: query_%d\n    expr: %s\n", i, quoted)
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
