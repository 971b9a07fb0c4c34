// Package builtin is the models that the binary carries, so that it can be tried before anything is downloaded. Each is
// trained by the script beside it.
package builtin

import (
	"embed"
	"encoding/json"
	"io/fs"
)

//go:embed embed text
var files embed.FS

// Embed is an embedding model for short English texts, in the layout of a repository.
func Embed() fs.FS { return sub("embed") }

//go:embed reference/embed.json
var embedReferences []byte

// EmbedReference is a text and the vector of unit length that sentence-transformers makes of it with Embed.
type EmbedReference struct {
	Text   string
	Vector []float32
}

// EmbedReferences are what a device's results are compared with.
func EmbedReferences() ([]EmbedReference, error) {
	var r []EmbedReference
	err := json.Unmarshal(embedReferences, &r)
	return r, err
}

// Text is a chat model of a small closed world, in the layout of a repository.
func Text() fs.FS { return sub("text") }

//go:embed reference/text.json
var textReferences []byte

// TextReference is a prompt in tokens and what transformers' greedy decoding of Text answers.
type TextReference struct {
	Prompt, Answer []int32
}

// TextReferences are what a device's answers are compared with.
func TextReferences() ([]TextReference, error) {
	var r []TextReference
	err := json.Unmarshal(textReferences, &r)
	return r, err
}

func sub(name string) fs.FS {
	f, err := fs.Sub(files, name)
	if err != nil {
		panic(err) // only for an invalid name
	}
	return f
}
