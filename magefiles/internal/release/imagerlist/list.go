package imagerlist

import (
	"bytes"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/google/renameio/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// schema is doc/json-schema/os-list-schema.json of raspberrypi/rpi-imager,
// licensed under the Apache License 2.0, unchanged.
//
//go:embed os-list-schema.json
var schema []byte

// Merge returns the list with the image that m describes in it, for others to
// read: only a publishable image at a public address is let in. The entry of the
// same name is replaced, all others are kept. An empty list is one of nothing.
func Merge(list []byte, m artifact.Manifest, l Listing) ([]byte, error) {
	return merge(list, m, l, true)
}

// Release is Merge with the list at path.
func Release(path string, m artifact.Manifest, l Listing) error { return put(path, m, l, true) }

// Trial puts the image that m describes into a list that only this machine
// reads, to try it with Imager. Any build may be in it.
func Trial(path string, m artifact.Manifest, l Listing) error { return put(path, m, l, false) }

func put(path string, m artifact.Manifest, l Listing, released bool) error {
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading the list of images: %w", err)
	}
	content, err := merge(before, m, l, released)
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, content, 0o644)
}

func merge(list []byte, m artifact.Manifest, l Listing, released bool) ([]byte, error) {
	e, err := newEntry(m, l, released)
	if err != nil {
		return nil, fmt.Errorf("an entry for %s: %w", l.Name, err)
	}
	d, err := read(list)
	if err != nil {
		return nil, err
	}
	if err := d.set(e); err != nil {
		return nil, err
	}
	content, err := encode(d, "  ")
	if err != nil {
		return nil, err
	}
	if err := Validate(content); err != nil {
		return nil, fmt.Errorf("the list would not be valid: %w", err)
	}
	return content, nil
}

// Offered returns the address of the image that the list has under a name, "" if
// it has none.
func Offered(list []byte, name string) (string, error) {
	d, err := read(list)
	if err != nil {
		return "", err
	}
	at, err := d.index(name)
	if err != nil || at < 0 {
		return "", err
	}
	var e Entry
	err = json.Unmarshal(d.OSList[at], &e)
	return e.URL, err
}

// document is the list; what it holds beside our entry is kept as it is.
type document struct {
	Imager json.RawMessage   `json:"imager,omitempty"`
	OSList []json.RawMessage `json:"os_list"`
}

func read(content []byte) (document, error) {
	list := document{OSList: []json.RawMessage{}}
	if len(content) == 0 {
		return list, nil
	}
	if err := validate(content, false); err != nil {
		return list, fmt.Errorf("the list is not valid; correct it or remove it: %w", err)
	}
	err := json.Unmarshal(content, &list)
	return list, err
}

// set puts e where the entry of its name is, or at the end.
func (d *document) set(e Entry) error {
	content, err := encode(e, "")
	if err != nil {
		return fmt.Errorf("entry %s: %w", e.Name, err)
	}
	at, err := d.index(e.Name)
	if err != nil {
		return err
	}
	if at < 0 {
		at = len(d.OSList)
		d.OSList = append(d.OSList, nil)
	}
	d.OSList[at] = content
	return nil
}

// index is where the entry of a name is, -1 if there is none.
func (d *document) index(name string) (int, error) {
	at := -1
	for i, entry := range d.OSList {
		var named struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(entry, &named); err != nil {
			return at, fmt.Errorf("entry %d: %w", i, err)
		}
		if named.Name != name {
			continue
		}
		if at >= 0 {
			return at, fmt.Errorf("two entries are called %s: remove one", name)
		}
		at = i
	}
	return at, nil
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
