package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"remote-client-server/runtime/checkpoint"
)

// checkFolder says what is missing in the model's folder before anything large
// is read.
func (c *config) checkFolder() error {
	const what = "the files of the model's repository"
	info, err := os.Stat(c.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: put %s there (config.json, tokenizer.json, model.safetensors ...), or name a repository with --model_repo_id", c.dir, what)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", c.dir)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "config.json")); err != nil {
		if modules, _ := filepath.Glob(filepath.Join(c.dir, "*", "config.json")); len(modules) == 0 {
			return fmt.Errorf("the folder %s holds no config.json: put %s there", c.dir, what)
		}
	}
	return nil
}

// notFinite adds to the canary's error which weight is at fault, if one is.
func (c *config) notFinite(err error) error {
	if err == nil || c.builtin || !ofFiles(err) {
		return err
	}
	err = fmt.Errorf("%s: %w", c.dir, err)
	stored, openErr := checkpoint.Open(c.dir)
	if openErr != nil {
		return err // the model lies elsewhere in its folder
	}
	defer stored.Close()
	for _, name := range stored.Names() {
		t, _ := stored.Lookup(name)
		s, sourceErr := t.Source(-1, -1)
		if sourceErr != nil { // no numbers of a network
			continue
		}
		for i, x := range s.Floats() {
			if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Errorf("%w: value %d of the tensor %s is %v", err, i, name, f)
			}
		}
	}
	return err
}
