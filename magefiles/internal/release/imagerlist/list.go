package imagerlist

import (
	"bytes"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// schema is doc/json-schema/os-list-schema.json of raspberrypi/rpi-imager,
// licensed under the Apache License 2.0, unchanged.
//
//go:embed os-list-schema.json
var schema []byte

// Release puts the image that m describes into the list at path, which others
// read: only a publishable image at a public address is let in. The entry of
// the same name is replaced, all others are kept.
func Release(path string, m artifact.Manifest, l Listing) (Entry, error) {
	return put(path, m, l, true)
}

// Trial puts the image that m describes into a list that only this machine
// reads, to try it with Imager. Any build may be in it.
func Trial(path string, m artifact.Manifest, l Listing) (Entry, error) {
	return put(path, m, l, false)
}

func put(path string, m artifact.Manifest, l Listing, released bool) (Entry, error) {
	e, err := newEntry(m, l, released)
	if err != nil {
		return Entry{}, fmt.Errorf("an entry in %s for %s: %w", path, l.Name, err)
	}
	list, err := read(path)
	if err != nil {
		return Entry{}, err
	}
	if err := list.set(e); err != nil {
		return Entry{}, fmt.Errorf("%s: %w", path, err)
	}
	content, err := encode(list, "  ")
	if err != nil {
		return Entry{}, fmt.Errorf("writing %s: %w", path, err)
	}
	if err := Validate(content); err != nil {
		return Entry{}, fmt.Errorf("%s would not be valid: %w", path, err)
	}
	if err := renameio.WriteFile(path, content, 0o644); err != nil {
		return Entry{}, fmt.Errorf("writing %s: %w", path, err)
	}
	return e, nil
}

// document is the list; what it holds beside our entry is kept as it is.
type document struct {
	Imager json.RawMessage   `json:"imager,omitempty"`
	OSList []json.RawMessage `json:"os_list"`
}

func read(path string) (document, error) {
	empty := document{OSList: []json.RawMessage{}}
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, fmt.Errorf("reading the list of images: %w", err)
	}
	if err := validate(content, false); err != nil {
		return empty, fmt.Errorf("%s is not valid; correct it or remove it: %w", filepath.Base(path), err)
	}
	list := empty
	if err := json.Unmarshal(content, &list); err != nil {
		return empty, fmt.Errorf("reading %s: %w", path, err)
	}
	return list, nil
}

// set puts e where the entry of its name is, or at the end.
func (d *document) set(e Entry) error {
	content, err := encode(e, "")
	if err != nil {
		return fmt.Errorf("entry %s: %w", e.Name, err)
	}
	at := len(d.OSList)
	for i, other := range d.OSList {
		var named struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(other, &named); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if named.Name != e.Name {
			continue
		}
		if at < len(d.OSList) {
			return fmt.Errorf("two entries are called %s: remove one", e.Name)
		}
		at = i
	}
	if at == len(d.OSList) {
		d.OSList = append(d.OSList, nil)
	}
	d.OSList[at] = content
	return nil
}

// encode does without the escapes that HTML would want.
func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// Validate checks a list against Imager's schema, and for what the schema lets
// through but nobody can use: placeholders.
func Validate(content []byte) error { return validate(content, true) }

func validate(content []byte, strict bool) error {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return err
	}
	compiled, err := compile()
	if err != nil {
		return err
	}
	if err := compiled.Validate(parsed); err != nil {
		return err
	}
	if !strict {
		return nil
	}
	var problems []error
	walk("", parsed, func(where, text string) {
		if placeholder.MatchString(text) {
			problems = append(problems, fmt.Errorf("%s is a placeholder: %q", where, text))
		}
	})
	return errors.Join(problems...)
}

func compile() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("reading Imager's schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("os-list-schema.json", doc); err != nil {
		return nil, fmt.Errorf("reading Imager's schema: %w", err)
	}
	compiled, err := c.Compile("os-list-schema.json")
	if err != nil {
		return nil, fmt.Errorf("reading Imager's schema: %w", err)
	}
	return compiled, nil
}

// walk calls do with every text of v and where it is.
func walk(where string, v any, do func(where, text string)) {
	switch v := v.(type) {
	case string:
		do(where, v)
	case []any:
		for i, item := range v {
			walk(fmt.Sprintf("%s/%d", where, i), item, do)
		}
	case map[string]any:
		for key, item := range v {
			walk(where+"/"+key, item, do)
		}
	}
}
