// Package builtin is the models that the binary carries, so that it can be tried before anything is downloaded. Each is
// trained by the script beside it.
package builtin

import (
	"embed"
	"io/fs"
)

//go:embed embed
var files embed.FS

// Embed is an embedding model for short English texts, in the layout of a repository.
func Embed() fs.FS { return sub("embed") }

func sub(name string) fs.FS {
	f, err := fs.Sub(files, name)
	if err != nil {
		panic(err) // only for an invalid name
	}
	return f
}
