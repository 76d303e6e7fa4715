package recipe

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	ctyjson "github.com/zclconf/go-cty/cty/json"
)

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
	ImagePath           string          `json:"image_path"`
	Partitions          []dumpPartition `json:"image_partitions"`
	ChrootEnv           []string        `json:"image_chroot_env"`
	PackerOnly          map[string]any  `json:"packer_only"`
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
// defaulted, paths relative to the root. The same recipe gives the same bytes
// wherever it is checked out.
func (r *Recipe) Dump(w io.Writer) error {
	b, err := r.dump()
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("writing the recipe: %w", err)
	}
	return nil
}

// Digest is the SHA-256 of the recipe as dumped, in lower-case hex. What is in
// the files it names is no part of it.
func (r *Recipe) Digest() (string, error) {
	b, err := r.dump()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func (r *Recipe) dump() ([]byte, error) {
	rel := func(path string) string { return relTo(r.root, path) }
	s := r.Source
	d := dump{
		Variables: map[string]any{},
		Source: dumpedSource{
			Type: s.Type, Name: s.Name,
			FileURLs: s.FileURLs, FileChecksum: s.FileChecksum, FileTargetExtension: s.FileTargetExtension,
			ImagePath: rel(s.ImagePath), ChrootEnv: s.ChrootEnv, PackerOnly: map[string]any{},
		},
	}
	for name := range PackerOnly() {
		if s.attrs.has(name) {
			d.Source.PackerOnly[name] = ctyjson.SimpleJSONValue{Value: s.attrs.values[name].value}
		}
	}
	for _, p := range s.Partitions {
		d.Source.Partitions = append(d.Source.Partitions, dumpPartition{p.Name, p.Type, p.StartSector, p.Size, p.Filesystem, p.Mountpoint})
	}
	for _, p := range r.Provisioners {
		d.Provisioners = append(d.Provisioners, dumpProvisioner{
			Type: p.Type, Name: p.Name, Scripts: each(p.Scripts, rel), Inline: p.Inline, Env: p.Env,
			ExecuteCommand: p.ExecuteCommand, Sources: each(p.Sources, rel), Destination: p.Destination,
		})
	}
	for name, v := range r.variables {
		d.Variables[name] = ctyjson.SimpleJSONValue{Value: v.value}
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
