package repo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"remote-client-server/runtime/checkpoint"
	"remote-client-server/tokenize"
)

// fileLimit is far above any settings file.
const fileLimit = 16 << 20

// Folder is a model repository, or a folder in one: a directory, whose weights are mapped, or files in the binary.
type Folder struct {
	files fs.FS
	disk  string // the directory, "" for files in the binary
	at    string // below files
}

// Dir is a repository on disk.
func Dir(directory string) Folder { return Folder{os.DirFS(directory), directory, "."} }

// Embedded is a repository inside the binary.
func Embedded(files fs.FS) Folder { return Folder{files, "", "."} }

// Sub is a folder inside; a path that leaves the repository is an error.
func (f Folder) Sub(name string) (Folder, error) {
	if name != "" && !filepath.IsLocal(name) {
		return f, fmt.Errorf("path %q leaves the repository", name)
	}
	f.at = path.Join(f.at, filepath.ToSlash(name))
	return f, nil
}

func (f Folder) String() string {
	if f.disk == "" {
		return "built-in " + f.at
	}
	return filepath.Join(f.disk, filepath.FromSlash(f.at))
}

// Read reads one settings file whole.
func (f Folder) Read(name string) ([]byte, error) {
	at := path.Join(f.at, name)
	info, err := fs.Stat(f.files, at)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > fileLimit { // opening a pipe would wait for a writer
		return nil, fmt.Errorf("%s: no regular file of at most %d bytes", name, fileLimit)
	}
	file, err := f.files.Open(at)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, fileLimit))
}

// List is the names of the files in a folder inside; none where there is no such folder.
func (f Folder) List(folder string) []string {
	entries, err := fs.ReadDir(f.files, path.Join(f.at, folder))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// JSON decodes one settings file; false where it does not exist.
func (f Folder) JSON(name string, v any) (bool, error) {
	raw, err := f.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = decode(name, raw, v)
	}
	return true, err
}

// decode is json.Unmarshal with errors that speak of the file, not of this program's types.
func decode(name string, raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Errorf("%s: %s: a JSON %s does not belong here", name, wrong.Field, wrong.Value)
	case wrong != nil:
		return fmt.Errorf("%s: a JSON %s does not belong here", name, wrong.Value)
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Config reads one settings file as a Config.
func (f Folder) Config(name string) (*Config, error) {
	raw, err := f.Read(name)
	if err != nil {
		return nil, err
	}
	return ParseConfig(name, raw)
}

// Weights opens the folder's checkpoint.
func (f Folder) Weights() (*checkpoint.Checkpoint, error) {
	if f.disk != "" {
		return checkpoint.Open(f.String())
	}
	raw, err := fs.ReadFile(f.files, path.Join(f.at, "model.safetensors"))
	if err != nil {
		return nil, err
	}
	return checkpoint.Bytes(raw)
}

// Tokenizer loads the folder's tokenizer.
func (f Folder) Tokenizer() (*tokenize.Tokenizer, error) {
	if f.disk != "" {
		return tokenize.Load(f.String())
	}
	raw, err := f.Read("tokenizer.json")
	if err != nil {
		return nil, err
	}
	return tokenize.Parse(raw)
}
