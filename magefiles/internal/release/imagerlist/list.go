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
	before, err := read(list)
	if err != nil {
		return nil, err
	}
	content, err := set(before, e)
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
	list, err := read(list)
	if err != nil {
		return "", err
	}
	at, _, err := locate(list, name)
	if err != nil || at == (place{}) {
		return "", err
	}
	var e Entry
	err = json.Unmarshal(list[at.start:at.end], &e)
	return e.URL, err
}

// read checks a list and returns it as it can be worked with.
func read(list []byte) ([]byte, error) {
	if len(list) == 0 {
		return []byte(`{"os_list": []}`), nil
	}
	list = withoutMark(list)
	if err := validate(list, false); err != nil {
		return nil, fmt.Errorf("the list is not valid; correct it or remove it: %w", err)
	}
	return list, nil
}

// withoutMark leaves out the byte order mark that some editors put before UTF-8.
func withoutMark(content []byte) []byte { return bytes.TrimPrefix(content, []byte("\ufeff")) }

// encode does without the escapes that HTML would want.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// Validate checks a list against Imager's schema, and for what the schema lets
// through but nobody can use: placeholders.
func Validate(content []byte) error { return validate(content, true) }

func validate(content []byte, strict bool) error {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(withoutMark(content)))
	if err != nil {
		return err
	}
	compiled, err := compile()
	if err != nil {
		return err
	}
	if list, ok := parsed.(map[string]any); ok {
		delete(list, "$schema") // for editors: the schema does not know itself, and Imager does not look
	}
	if err := compiled.Validate(parsed); err != nil {
		return err
	}
	if !strict {
		return nil
	}
	return errors.Join(placeholders("", parsed)...)
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
