package imagerlist

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// set puts e into the list where the entry of its name is, however deep in a
// list inside the list, or else at the end. Everything around it stays as it is,
// but for blanks.
func set(list []byte, e Entry) ([]byte, error) {
	entry, err := encode(e)
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", e.Name, err)
	}
	at, end, err := locate(list, e.Name)
	if err != nil {
		return nil, err
	}
	if at == (place{}) {
		at = place{end, end}
		if list[end-1] != '[' {
			entry = append([]byte(","), entry...)
		}
	}
	list = slices.Concat(list[:at.start], entry, list[at.end:])
	var b bytes.Buffer
	if err := json.Indent(&b, list, "", "  "); err != nil {
		return nil, err
	}
	return append(bytes.TrimSpace(b.Bytes()), '\n'), nil
}

// place is where an entry is in the list, in bytes.
type place struct{ start, end int }

// locate returns where the entry called name is, nowhere if there is none, and
// where the last one ends.
func locate(list []byte, name string) (at place, end int, err error) {
	var places []place
	end, err = eachEntry(list, "os_list", 0, func(item []byte, at int) error {
		return find(item, at, name, &places)
	})
	switch {
	case err != nil || len(places) == 0:
		return place{}, end, err
	case len(places) > 1:
		return place{}, end, fmt.Errorf("two entries are called %s: remove one", name)
	}
	return places[0], end, nil
}

// find adds the entries called name to places: item, which is at a place in the
// list, and those inside it. A list of that name is none.
func find(item []byte, at int, name string, places *[]place) error {
	var entry struct {
		Name     string            `json:"name"`
		Subitems []json.RawMessage `json:"subitems"`
		URL      string            `json:"subitems_url"`
	}
	if err := json.Unmarshal(item, &entry); err != nil {
		return fmt.Errorf("the entry at byte %d: %w", at, err)
	}
	if entry.Name == name && len(entry.Subitems) == 0 && entry.URL == "" {
		*places = append(*places, place{at, at + len(item)})
		return nil
	}
	_, err := eachEntry(item, "subitems", at, func(item []byte, at int) error {
		return find(item, at, name, places)
	})
	return err
}

// eachEntry calls do with each element of the array that object has under key,
// and where it is, if object is at a place. It returns where the last one ends.
func eachEntry(object []byte, key string, at int, do func(item []byte, at int) error) (end int, err error) {
	array, start, err := field(object, key)
	if err != nil || !bytes.HasPrefix(array, []byte("[")) {
		return 0, err
	}
	at += start
	in := json.NewDecoder(bytes.NewReader(array))
	if _, err := in.Token(); err != nil {
		return 0, err
	}
	for end = at + 1; in.More(); {
		var item json.RawMessage
		if err := in.Decode(&item); err != nil {
			return 0, err
		}
		end = at + int(in.InputOffset())
		if err := do(item, end-len(item)); err != nil {
			return 0, err
		}
	}
	return end, nil
}

// field returns what object has under key, and where in it that begins; nil if
// there is none.
func field(object []byte, key string) (value json.RawMessage, at int, err error) {
	in := json.NewDecoder(bytes.NewReader(object))
	if _, err := in.Token(); err != nil {
		return nil, 0, err
	}
	for in.More() {
		name, err := in.Token()
		if err == nil {
			err = in.Decode(&value)
		}
		if err != nil {
			return nil, 0, err
		}
		if name == key {
			return value, int(in.InputOffset()) - len(value), nil
		}
	}
	return nil, 0, nil
}
