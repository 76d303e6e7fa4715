package recipe

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

const masked = "(sensitive)"

type dump struct {
	Variables    map[string]any    `json:"variables"`
	Source       dumpedSource      `json:"source"`
	Provisioners []dumpProvisioner `json:"provisioners"`
}

type dumpedSource struct {
	Type                string          `json:"type"`
	Name                string          `json:"name"`
	FileURLs            []string        `json:"file_urls"`
	FileChecksum        string          `json:"file_checksum"`
	FileTargetExtension string          `json:"file_target_extension"`
	FileUnarchiveCmd    []string        `json:"file_unarchive_cmd,omitempty"`
	ImagePath           string          `json:"image_path"`
	ImageSize           string          `json:"image_size"`
	Partitions          []dumpPartition `json:"image_partitions"`
	ChrootEnv           []string        `json:"image_chroot_env"`
	QemuSource          string          `json:"qemu_binary_source_path"`
	QemuDestination     string          `json:"qemu_binary_destination_path"`
}

type dumpPartition struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	StartSector int64  `json:"start_sector"`
	Size        string `json:"size"`
	Filesystem  string `json:"filesystem"`
	Mountpoint  string `json:"mountpoint"`
}

type dumpProvisioner struct {
	Type           string   `json:"type"`
	Name           string   `json:"name,omitempty"`
	Scripts        []string `json:"scripts,omitempty"`
	Inline         []string `json:"inline,omitempty"`
	Env            []string `json:"environment_vars,omitempty"`
	ExecuteCommand string   `json:"execute_command,omitempty"`
	Sources        []string `json:"sources,omitempty"`
	Destination    string   `json:"destination,omitempty"`
}

// Dump writes the recipe as it will be carried out: everything evaluated and
// defaulted, paths relative to the root, secrets masked. The same recipe gives
// the same bytes wherever it is checked out.
func (r *Recipe) Dump(w io.Writer) error {
	b, err := r.dump(true)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("writing the recipe: %w", err)
	}
	return nil
}

// Digest is the SHA-256 of the recipe as dumped, but with its secrets. What is
// in the files it names is no part of it.
func (r *Recipe) Digest() (string, error) {
	b, err := r.dump(false)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func (r *Recipe) dump(mask bool) ([]byte, error) {
	hide := func(s string) string { return s }
	if mask {
		hide = r.mask
	}
	rel := func(path string) string { return hide(relTo(r.root, path)) }
	s := r.Source
	d := dump{
		Variables: map[string]any{},
		Source: dumpedSource{
			Type: s.Type, Name: s.Name,
			FileURLs: each(s.FileURLs, hide), FileChecksum: hide(s.FileChecksum), FileTargetExtension: s.FileTargetExtension,
			FileUnarchiveCmd: each(s.FileUnarchiveCmd, hide), ImagePath: rel(s.ImagePath), ImageSize: s.ImageSize,
			ChrootEnv: each(s.ChrootEnv, hide), QemuSource: s.QemuSource, QemuDestination: s.QemuDestination,
		},
	}
	for _, p := range s.Partitions {
		d.Source.Partitions = append(d.Source.Partitions, dumpPartition{p.Name, p.Type, p.StartSector, p.Size, p.Filesystem, p.Mountpoint})
	}
	for _, p := range r.Provisioners {
		d.Provisioners = append(d.Provisioners, dumpProvisioner{
			Type: p.Type, Name: hide(p.Name), Scripts: each(p.Scripts, rel), Inline: each(p.Inline, hide), Env: each(p.Env, hide),
			ExecuteCommand: hide(p.ExecuteCommand), Sources: each(p.Sources, rel), Destination: hide(p.Destination),
		})
	}
	for name, v := range r.variables {
		switch {
		case mask && v.sensitive:
			d.Variables[name] = masked
		case v.value.Type() == cty.String && !v.value.IsNull():
			d.Variables[name] = hide(v.value.AsString())
		default:
			d.Variables[name] = ctyjson.SimpleJSONValue{Value: v.value}
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return nil, fmt.Errorf("encoding the recipe: %w", err)
	}
	return b.Bytes(), nil
}

func each(list []string, f func(string) string) []string {
	var out []string
	for _, s := range list {
		out = append(out, f(s))
	}
	return out
}

func (r *Recipe) mask(s string) string {
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, masked)
	}
	return s
}

// secrets are the strings in sensitive variables and local values, the longest
// first, since one may hold another.
func (l *loader) secrets() []string {
	var secrets []string
	add := func(sensitive bool, value cty.Value) {
		if !sensitive || !value.IsWhollyKnown() {
			return
		}
		_ = cty.Walk(value, func(_ cty.Path, v cty.Value) (bool, error) {
			if !v.IsNull() && v.Type() == cty.String && v.AsString() != "" {
				secrets = append(secrets, v.AsString())
			}
			return true, nil
		})
	}
	for _, v := range l.variables {
		add(v.sensitive, v.value)
	}
	for _, loc := range l.locals {
		add(loc.sensitive, loc.value)
	}
	slices.SortFunc(secrets, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(secrets)
}
