package hub

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// format is a way in which weights are stored.
type format struct {
	ext   string
	stems []string
}

// formats in the order of preference; only one is taken, and a pickle only
// where there is nothing else.
var formats = []format{
	{"safetensors", []string{"model", "diffusion_pytorch_model"}},
	{"bin", []string{"pytorch_model", "diffusion_pytorch_model"}},
}

// weights takes the weights of a folder: an index with its shards before a
// single file, safetensors before bin, the wanted variant before the plain
// files before any other variant.
func (c *choice) weights(folder string, required bool) error {
	for i, f := range formats {
		for _, v := range c.variants(folder, f) {
			for _, stem := range f.stems {
				found, err := c.weightFiles(folder, stem, f.ext, v)
				if found || err != nil {
					return err
				}
			}
		}
		if i == 0 && required {
			found, err := c.namedWeights(folder)
			if found || err != nil {
				return err
			}
		}
	}
	if required {
		c.missing = append(c.missing, "weights ("+path.Join(folder, "model.safetensors")+", pytorch_model.bin or an index with its shards)")
		c.adapter = c.src.has("adapter_config.json")
	}
	return nil
}

// weightFiles takes the files of one naming, if they are there.
func (c *choice) weightFiles(folder, stem, ext, variant string) (bool, error) {
	index, single := stem+"."+ext+".index.json", stem+"."+ext
	if variant != "" {
		index, single = stem+"."+ext+".index."+variant+".json", stem+"."+variant+"."+ext
	}
	if index = path.Join(folder, index); c.src.has(index) {
		return true, c.shards(folder, index)
	}
	if single = path.Join(folder, single); c.src.has(single) {
		c.take(&c.need, single)
		return true, nil
	}
	return false, nil
}

// variants are the variants to try in order: the wanted one, none, and those
// that the folder has.
func (c *choice) variants(folder string, f format) []string {
	list := []string{c.variant}
	if c.variant != "" {
		list = append(list, "")
	}
	for _, name := range c.src.below(folder) {
		base := path.Base(name)
		if path.Dir(name) != path.Clean("./"+folder) {
			continue
		}
		for _, stem := range f.stems {
			v, ok := strings.CutPrefix(base, stem+".")
			if !ok {
				continue
			}
			if in, ok := strings.CutPrefix(v, f.ext+".index."); ok {
				v = strings.TrimSuffix(in, ".json")
			} else if v, ok = strings.CutSuffix(v, "."+f.ext); !ok {
				continue
			}
			// Shards of a variant have their numbers here; their index names it.
			if v != "" && v != "json" && !strings.ContainsAny(v, "-.") && !slices.Contains(list, v) {
				list = append(list, v)
			}
		}
	}
	return list
}

// shards takes an index and every file that it names.
func (c *choice) shards(folder, index string) error {
	c.take(&c.need, index)
	var content struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := c.json(index, &content); err != nil {
		return err
	}
	names := map[string]bool{}
	for _, name := range content.Map {
		names[name] = true
	}
	if len(names) == 0 || len(names) > maxShards {
		return fmt.Errorf("%w: %s names %d files", ErrIncomplete, index, len(names))
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		if why := unsafeName(name); why != "" {
			return fmt.Errorf("%w: %s names the file %q, which %s", ErrListing, index, clip(name), why)
		}
		c.require(path.Join(folder, name))
	}
	return nil
}

// namedWeights takes a single safetensors file of another name if a value of
// the folder's config.json names it.
func (c *choice) namedWeights(folder string) (bool, error) {
	config := path.Join(folder, "config.json")
	if !c.src.has(config) {
		return false, nil
	}
	var keys map[string]json.RawMessage
	if err := c.json(config, &keys); err != nil {
		return false, err
	}
	var found []string
	for _, raw := range keys {
		var name string
		if json.Unmarshal(raw, &name) == nil && strings.HasSuffix(name, ".safetensors") && !strings.Contains(name, "/") &&
			unsafeName(name) == "" && !skipped(name) && c.src.has(path.Join(folder, name)) {
			found = append(found, path.Join(folder, name))
		}
	}
	slices.Sort(found)
	for _, name := range found {
		c.take(&c.need, name)
	}
	return len(found) > 0, nil
}

// image takes a diffusers repository: model_index.json and the folder of each
// component that is not null.
func (c *choice) image() error {
	c.require("model_index.json")
	if !c.src.has("model_index.json") {
		return nil
	}
	var index map[string]json.RawMessage
	if err := c.json("model_index.json", &index); err != nil {
		return err
	}
	var components []string
	for key, raw := range index {
		var class []string // [library, class]; null reads as ""
		if json.Unmarshal(raw, &class) == nil && len(class) == 2 && class[0] != "" && class[1] != "" {
			components = append(components, key)
		}
	}
	slices.Sort(components)
	for _, name := range components {
		if strings.Contains(name, "/") || unsafeName(name) != "" || unfitName(name) != "" {
			return fmt.Errorf("%w: model_index.json names the component %q", ErrListing, clip(name))
		}
		c.folder(name)
		switch {
		case name == "scheduler":
			c.require("scheduler/scheduler_config.json")
		case strings.HasPrefix(name, "tokenizer"):
			c.requireTokenizer(name)
		case name == "feature_extractor" || name == "image_processor" || name == "processor":
			if len(c.src.below(name)) == 0 {
				c.missing = append(c.missing, name+"/")
			}
		default:
			c.require(name + "/config.json")
			if err := c.weights(name, true); err != nil {
				return err
			}
		}
	}
	if len(components) == 0 {
		return fmt.Errorf("%w: model_index.json names no component", ErrIncomplete)
	}
	return nil
}
