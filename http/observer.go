package http

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// shielded keeps a panic of an Observer away from whom it observes: some of
// its methods are called where nothing would catch one any more.
type shielded struct{ Observer }

func (o shielded) Request(route string, status int, took time.Duration) {
	defer o.caught()
	o.Observer.Request(route, status, took)
}

func (o shielded) Error(kind string) {
	defer o.caught()
	o.Observer.Error(kind)
}

func (o shielded) Job(outcome string, waited time.Duration) {
	defer o.caught()
	o.Observer.Job(outcome, waited)
}

func (o shielded) Ran(outcome string, took time.Duration) {
	defer o.caught()
	o.Observer.Ran(outcome, took)
}

func (o shielded) Inputs(inputs, tokens, cut int) {
	defer o.caught()
	o.Observer.Inputs(inputs, tokens, cut)
}

func (o shielded) Written(prompt, cached, completion int) {
	defer o.caught()
	o.Observer.Written(prompt, cached, completion)
}

func (o shielded) Generation() {
	defer o.caught()
	o.Observer.Generation()
}

func (o shielded) Panic() {
	defer func() { _ = recover() }() // there is no one left to tell
	o.Observer.Panic()
}

// caught is deferred.
func (o shielded) caught() {
	if v := recover(); v != nil {
		slog.Error("panic in the observer", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		o.Panic()
	}
}
