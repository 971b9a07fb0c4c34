package toolcall

import (
	"bytes"
	"slices"
	"strings"
)

// Kind is what an event tells.
type Kind uint8

const (
	Content       Kind = iota // Text is a part of the answer
	CallStart                 // a call of Name begins
	CallArguments             // Text is a part of the JSON of the call's arguments
	CallEnd                   // the call is over
)

// Event is a piece of an answer.
type Event struct {
	Kind  Kind
	Index int // of the call, from 0
	Name  string
	Text  string
}

// blanks are the white space of JSON.
const blanks = " \n\t\r"

const (
	// maxHeld is how much text may be held back until it is known to be a call.
	maxHeld = 64 << 10
	// maxBlank is how much white space may be held back.
	maxBlank = 1 << 10
)

// Parser takes the text of an answer apart while it comes. What may be the beginning of a call is held back until that
// is decided, and becomes content if it is none; so however the text is cut, the events are the same but for the cuts
// in their texts. White space next to a call is no content.
type Parser struct {
	format Format
	names  []string // of the tools
	index  int      // of the next call

	mode   mode
	blank  []byte // white space that is not given out, before held
	held   []byte // what may begin a call, or what has begun one that may turn out to be none
	scan   objectScan
	name   string
	begun  bool   // CallStart is out
	early  []byte // arguments that came before the name
	quoted bool   // the arguments are a string that holds their JSON
	argued bool   // the arguments are complete
	any    bool   // something other than white space has come
	after  bool   // a call was the last thing that came

	out     []Event
	growing []byte // the text of the event that comes next in out
	kind    Kind   // its kind
}

type mode uint8

const (
	inText    mode = iota
	beforeSet      // behind the marker of a list
	inCall
	afterCall // behind an object: the closing marker, a comma, the end of a list
	afterSet  // behind a list: the closing marker
)

// Parser begins an answer. The names of the tools tell a call from other JSON where a format has no marker.
func (f Format) Parser(tools []Tool) *Parser {
	p := &Parser{format: f}
	for _, t := range tools {
		p.names = append(p.names, t.Name)
	}
	return p
}

// Push takes more text and gives what it tells.
func (p *Parser) Push(text string) []Event {
	for i := range len(text) {
		p.byte(text[i])
	}
	return p.take()
}

// Close gives what is left when no more text comes. A call that was begun is over, complete or not.
func (p *Parser) Close() []Event {
	switch {
	case p.begun:
		p.end()
	case p.mode != afterCall && p.mode != afterSet:
		p.giveUp()
	}
	return p.take()
}

// take is the events that are known.
func (p *Parser) take() []Event {
	p.flush()
	out := p.out
	p.out = nil
	return out
}

func (p *Parser) flush() {
	if len(p.growing) > 0 {
		p.out = append(p.out, Event{Kind: p.kind, Text: string(p.growing)})
		if p.kind == CallArguments {
			p.out[len(p.out)-1].Index = p.index
		}
		p.growing = p.growing[:0]
	}
}

func (p *Parser) grow(kind Kind, b []byte) {
	if kind != p.kind {
		p.flush()
		p.kind = kind
	}
	p.growing = append(p.growing, b...)
}

func (p *Parser) emit(e Event) {
	p.flush()
	p.out = append(p.out, e)
}

func (p *Parser) content(b []byte) {
	if p.after {
		b = bytes.TrimLeft(b, blanks)
		p.after = len(b) == 0
	}
	p.grow(Content, b)
}

func (p *Parser) byte(c byte) {
	switch p.mode {
	case inText:
		p.text(c)
	case beforeSet:
		p.held = append(p.held, c)
		switch {
		case isBlank(c) && len(p.held) < maxBlank:
		case c == '[':
			p.call()
		default:
			p.giveUp()
		}
	case inCall:
		p.object(c)
	case afterCall:
		p.between(c)
	case afterSet:
		p.closing(c)
	}
}

// text looks for the beginning of calls.
func (p *Parser) text(c byte) {
	f := p.format
	switch {
	case f.style == none || f.style == bare && p.any:
		p.content([]byte{c})
		return
	case isBlank(c) && len(p.held) == 0:
		if p.blank = append(p.blank, c); len(p.blank) > maxBlank {
			p.giveUp()
		}
		return
	case f.style == bare && c == '{' && len(p.held) == 0:
		p.call()
		p.object(c)
		return
	}
	p.held = append(p.held, c)
	switch {
	case string(p.held) == f.open.text && f.style == listed:
		p.mode = beforeSet
	case string(p.held) == f.open.text:
		p.call()
	case strings.HasPrefix(f.open.text, string(p.held)):
	default:
		p.slide()
	}
}

// slide gives out what begins no marker and keeps the longest end that may. Markers have no white space.
func (p *Parser) slide() {
	held := p.held
	keep := 0
	for n := min(len(held)-1, len(p.format.open.text)-1); n > 0 && p.format.style != bare; n-- {
		if strings.HasPrefix(p.format.open.text, string(held[len(held)-n:])) {
			keep = n
			break
		}
	}
	p.held = held[:len(held)-keep]
	blank := isBlank(p.held[len(p.held)-1])
	if blank {
		p.held = p.held[:len(p.held)-1]
	}
	p.giveUp()
	if blank {
		p.blank = append(p.blank, held[len(held)-1])
	}
	p.held = append(p.held[:0], held[len(held)-keep:]...)
}

// call begins to read an object.
func (p *Parser) call() {
	p.mode = inCall
	p.scan = objectScan{}
	p.name, p.begun, p.early, p.quoted, p.argued = "", false, nil, false, false
}

// giveUp makes content of what was held.
func (p *Parser) giveUp() {
	p.content(p.blank)
	p.content(p.held)
	p.any = p.any || len(p.held) > 0
	p.blank, p.held, p.mode = p.blank[:0], p.held[:0], inText
}

func (p *Parser) object(c byte) {
	if !p.begun {
		p.held = append(p.held, c)
	}
	at := p.scan.step(c)
	if at == argument && p.scan.kind == '"' && p.scan.stage == inValue && len(p.early) == 0 && !p.begun {
		p.quoted = true
	}
	switch at {
	case argument, argumentEnd:
		if p.argued { // a second time
			at = wrong
			break
		}
		p.argued = at == argumentEnd
		if p.begun && !p.quoted {
			p.grow(CallArguments, []byte{c})
		} else if p.early = append(p.early, c); len(p.early) > maxHeld {
			at = wrong
		}
	case nameEnds:
		if p.begun {
			break
		}
		if p.name = unquote(p.scan.value); p.name == "" {
			at = wrong
		}
	}
	if p.name != "" && !p.begun && (len(p.early) > 0 || at == objectEnds && p.format.style != bare) {
		p.start()
	}
	switch {
	case at == wrong && p.begun:
		p.end()
		p.mode, p.any = inText, true
		p.text(c)
	case at == wrong, at == objectEnds && !p.begun, !p.begun && len(p.held) > maxHeld:
		p.giveUp()
	case at == objectEnds:
		p.end()
		p.mode = afterCall
	}
}

// start gives out the beginning of a call, as soon as there is a name and arguments have begun.
func (p *Parser) start() {
	if p.format.style == bare && !slices.Contains(p.names, p.name) {
		return
	}
	p.begun = true
	p.blank, p.held = p.blank[:0], p.held[:0]
	p.emit(Event{Kind: CallStart, Index: p.index, Name: p.name})
	if !p.quoted {
		p.grow(CallArguments, p.early)
		p.early = nil
	}
}

func (p *Parser) end() {
	if p.quoted {
		p.grow(CallArguments, []byte(unquote(p.early)))
	} else if p.scan.stage == ended && !p.argued {
		p.grow(CallArguments, []byte("{}"))
	}
	p.emit(Event{Kind: CallEnd, Index: p.index})
	p.index++
	p.begun, p.any, p.after = false, true, true
}

// between follows what comes behind an object.
func (p *Parser) between(c byte) {
	switch {
	case p.format.style == bare && c == ';': // Llama's way to call twice
		p.call()
		p.held = append(p.held, c)
	case p.format.style == bare:
		p.mode = inText
		p.text(c)
	case p.format.style == tagged:
		p.closing(c)
	case isBlank(c):
	case c == ',':
		p.call()
	case c == ']' && p.format.close.text == "":
		p.mode = inText
	case c == ']':
		p.mode = afterSet
	default:
		p.mode = inText
		p.text(c)
	}
}

// closing looks for the closing marker; without it the text goes on.
func (p *Parser) closing(c byte) {
	if isBlank(c) && len(p.held) == 0 {
		return
	}
	p.held = append(p.held, c)
	switch {
	case string(p.held) == p.format.close.text:
		p.held = p.held[:0]
		p.mode = inText
	case !strings.HasPrefix(p.format.close.text, string(p.held)):
		text := slices.Clone(p.held)
		p.held = p.held[:0]
		p.mode = inText
		for _, c := range text {
			p.text(c)
		}
	}
}
