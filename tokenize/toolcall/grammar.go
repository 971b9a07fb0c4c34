package toolcall

import (
	"fmt"

	"remote-client-server/tokenize/grammar"
)

// Grammar is the grammar of an answer that calls one of the tools, or several where parallel is set and the format can
// say so: for tool_choice "required", or for a named tool if it is the only one given.
func (f Format) Grammar(tools []Tool, parallel bool) (*grammar.Grammar, error) {
	e, err := f.calls(tools, parallel, false)
	if err != nil {
		return nil, err
	}
	return grammar.Compile(e, grammar.Options{})
}

// Continuation is the grammar of what comes behind the Trigger, to the end of the answer: for tool_choice "auto".
func (f Format) Continuation(tools []Tool, parallel bool) (*grammar.Grammar, error) {
	e, err := f.calls(tools, parallel, true)
	if err != nil {
		return nil, err
	}
	return grammar.Compile(e, grammar.Options{})
}

// calls is the expression of an answer's calls; begun says that the trigger stands already.
func (f Format) calls(tools []Tool, parallel, begun bool) (grammar.Expr, error) {
	if !f.Supported() {
		return nil, fmt.Errorf("tools: this model's chat template defines no way to call them")
	}
	if err := Check(tools); err != nil {
		return nil, err
	}
	again := 0
	if parallel {
		again = -1
	}
	switch f.style {
	case tagged:
		open := grammar.Seq(f.open.expr(), grammar.Literal("\n"))
		rest := grammar.Seq(f.call(tools, "arguments", true), grammar.Literal("\n"), f.close.expr())
		more := grammar.Repeat(grammar.Seq(grammar.Literal("\n"), open, rest), 0, again)
		if begun {
			return grammar.Seq(grammar.Literal("\n"), rest, more), nil
		}
		return grammar.Seq(open, rest, more), nil
	case listed:
		one := f.call(tools, "arguments", true)
		list := grammar.Seq(grammar.Repeat(grammar.Literal(" "), 0, 1), grammar.Literal("["), one,
			grammar.Repeat(grammar.Seq(grammar.Literal(", "), one), 0, again), grammar.Literal("]"))
		if f.close.text != "" {
			list = grammar.Seq(list, f.close.expr())
		}
		if begun {
			return list, nil
		}
		return grammar.Seq(f.open.expr(), list), nil
	}
	return f.call(tools, "parameters", !begun), nil
}

func (m marker) expr() grammar.Expr {
	if m.id >= 0 {
		return grammar.Token(m.id)
	}
	return grammar.Literal(m.text)
}

// call is the JSON object of one call, as the templates write it; whole includes its beginning, {"name": ".
func (f Format) call(tools []Tool, arguments string, whole bool) grammar.Expr {
	var either []grammar.Expr
	for _, t := range tools {
		schema, _ := t.schema() // checked
		either = append(either, grammar.Seq(grammar.Literal(t.Name+`", "`+arguments+`": `), grammar.Schema(schema)))
	}
	e := grammar.Seq(grammar.Or(either...), grammar.Literal("}"))
	if f.ids {
		id := grammar.Seq(grammar.Literal(`, "id": "`), grammar.Regex(`[A-Za-z0-9]{9}`), grammar.Literal(`"`))
		e = grammar.Seq(grammar.Or(either...), grammar.Repeat(id, 0, 1), grammar.Literal("}"))
	}
	if whole {
		e = grammar.Seq(grammar.Literal(`{"name": "`), e)
	}
	return e
}
