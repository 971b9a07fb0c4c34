// Package report is how measurements are told.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Measure is one figure. Where there is a goal, the value must not exceed it,
// or, with Least, must reach it.
type Measure struct {
	What  string   `json:"what"`
	Name  string   `json:"measure"`
	Value float64  `json:"value"`
	Unit  string   `json:"unit"`
	Goal  *float64 `json:"goal,omitempty"`
	Least bool     `json:"at_least,omitempty"`
	Met   *bool    `json:"met,omitempty"`
}

// Plain is a figure without a goal.
func Plain(name string, value float64, unit string) Measure {
	return Measure{Name: name, Value: value, Unit: unit}
}

// AtMost is a figure that must not exceed its goal.
func AtMost(name string, value float64, unit string, goal float64) Measure {
	met := value <= goal
	return Measure{Name: name, Value: value, Unit: unit, Goal: &goal, Met: &met}
}

// AtLeast is a figure that must reach its goal.
func AtLeast(name string, value float64, unit string, goal float64) Measure {
	met := value >= goal
	return Measure{Name: name, Value: value, Unit: unit, Goal: &goal, Least: true, Met: &met}
}

// Missed says whether a goal is missed.
func Missed(measures []Measure) bool {
	for _, m := range measures {
		if m.Met != nil && !*m.Met {
			return true
		}
	}
	return false
}

// Write writes the measures as JSON lines, for programs, and as a table, for
// people.
func Write(what string, measures []Measure, lines, people io.Writer) error {
	encoder := json.NewEncoder(lines)
	table := tabwriter.NewWriter(people, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s\t\tgoal\t\n", what)
	for _, m := range measures {
		m.What = what
		if err := encoder.Encode(m); err != nil {
			return err
		}
		goal, verdict := "", ""
		if m.Goal != nil {
			goal, verdict = fmt.Sprintf("<= %.4g", *m.Goal), "met"
			if m.Least {
				goal = fmt.Sprintf(">= %.4g", *m.Goal)
			}
			if !*m.Met {
				verdict = "MISSED"
			}
		}
		fmt.Fprintf(table, "  %s\t%.4g %s\t%s\t%s\n", m.Name, m.Value, m.Unit, goal, verdict)
	}
	return table.Flush()
}
