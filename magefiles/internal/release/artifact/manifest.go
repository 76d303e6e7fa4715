package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
)

// SchemaVersion is the version of the build manifest's format.
const SchemaVersion = 2

// Manifest is the build manifest: everything there is to know about one build.
// Whatever is published about it is derived from this alone.
type Manifest struct {
	SchemaVersion   int              `json:"schema_version"`
	Version         string           `json:"version"`
	Profile         string           `json:"profile"`
	Publishable     bool             `json:"publishable"`
	Commit          string           `json:"commit"`            // of this repository; empty if a source archive was built
	SourceDateEpoch int64            `json:"source_date_epoch"` // seconds, the time all files of the image carry
	Created         time.Time        `json:"created"`
	BaseImage       BaseImage        `json:"base_image"`
	RecipeDigest    string           `json:"recipe_digest"`
	ContainerImages []ContainerImage `json:"container_images"`
	// Installed in the root file system, their versions by their names. Those of
	// another architecture than the image's are called NAME:ARCHITECTURE.
	DebianPackages map[string]string `json:"debian_packages"`
	PartitionTable PartitionTable    `json:"partition_table"`
	RawImage       File              `json:"raw_image"`
	Compressed     File              `json:"compressed_image"`
	BlockMap       File              `json:"block_map"`
}

// BaseImage is what the image was made from.
type BaseImage struct {
	URL        string `json:"url"`
	SHA256     string `json:"sha256"`
	InitFormat string `json:"init_format"` // how Raspberry Pi Imager customises it
}

// ContainerImage is a container image that the image carries.
type ContainerImage struct {
	Name      string `json:"name"`
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
}

// PartitionTable is a summary of the image's own table.
type PartitionTable struct {
	DiskID     string      `json:"disk_id"` // eight hexadecimal digits
	Partitions []Partition `json:"partitions"`
}

// Partition is one partition; Start and Size are in bytes.
type Partition struct {
	Number     int    `json:"number"`
	Type       string `json:"type"` // as sfdisk names it: c, 83
	FileSystem string `json:"file_system"`
	Label      string `json:"label"`
	UUID       string `json:"uuid"`
	Start      int64  `json:"start"`
	Size       int64  `json:"size"`
}

var (
	sha256Digits = regexp.MustCompile(`^[0-9a-f]{64}$`)
	commitDigits = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	diskID       = regexp.MustCompile(`^[0-9a-f]{8}$`)
)

// complain notes a problem.
type complain func(format string, args ...any)

// Validate reports everything that is wrong with m at once.
func (m Manifest) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	m.validateBuild(bad)
	m.validateSources(bad)
	m.PartitionTable.validate(bad, m.RawImage.Size)
	m.validateFiles(bad)
	return errors.Join(problems...)
}

func (m Manifest) validateBuild(bad complain) {
	if m.SchemaVersion != SchemaVersion {
		bad("schema_version %d: this program knows %d", m.SchemaVersion, SchemaVersion)
	}
	if err := CheckVersion(m.Version); err != nil {
		bad("%w", err)
	}
	if m.Profile == "" {
		bad("profile is missing")
	}
	if !commitDigits.MatchString(m.Commit) && (m.Commit != "" || m.Publishable) {
		bad("commit %q: want the full hash", m.Commit)
	}
	if m.SourceDateEpoch <= 0 {
		bad("source_date_epoch %d: want a time after 1970", m.SourceDateEpoch)
	}
	if m.Created.IsZero() {
		bad("created is missing")
	}
}

func (m Manifest) validateSources(bad complain) {
	if u, err := url.Parse(m.BaseImage.URL); err != nil || u.Scheme == "" {
		bad("base_image url %q: want a URL", m.BaseImage.URL)
	}
	checkSHA256(bad, "base_image", m.BaseImage.SHA256)
	checkSHA256(bad, "recipe_digest", m.RecipeDigest)
	if len(m.ContainerImages) == 0 {
		bad("container_images is empty")
	}
	for _, c := range m.ContainerImages {
		if c.Name == "" || c.Reference == "" {
			bad("container image %+v: want a name and a reference", c)
		}
		checkDigest(bad, "container image "+c.Name, c.Digest)
	}
	if len(m.DebianPackages) == 0 {
		bad("debian_packages is empty")
	}
	for name, version := range m.DebianPackages {
		if name == "" || version == "" {
			bad("Debian package %q of version %q: want both", name, version)
		}
	}
}

func (m Manifest) validateFiles(bad complain) {
	names, namesErr := namesLike(m.RawImage.Name, m.Version)
	if namesErr != nil {
		bad("%w", namesErr)
	}
	for _, f := range []struct {
		key, name string
		file      File
	}{
		{"raw_image", names.Image, m.RawImage}, {"compressed_image", names.XZ, m.Compressed}, {"block_map", names.BlockMap, m.BlockMap},
	} {
		if namesErr == nil && f.file.Name != f.name {
			bad("%s is called %q: want %s", f.key, f.file.Name, f.name)
		}
		if f.file.Size <= 0 {
			bad("%s has %d bytes", f.key, f.file.Size)
		}
		checkSHA256(bad, f.key, f.file.SHA256)
	}
	if m.RawImage.Size%diskimage.SectorSize != 0 {
		bad("raw_image has %d bytes: want a multiple of %d", m.RawImage.Size, diskimage.SectorSize)
	}
}

func (t PartitionTable) validate(bad complain, size int64) {
	if !diskID.MatchString(t.DiskID) {
		bad("disk_id %q: want eight hexadecimal digits", t.DiskID)
	}
	if len(t.Partitions) == 0 {
		bad("partition_table has no partitions")
	}
	var end int64
	for _, p := range t.Partitions {
		if p.Start < end || p.Start%diskimage.SectorSize != 0 || p.Size <= 0 || p.Size%diskimage.SectorSize != 0 || p.Start+p.Size > size {
			bad("partition %d from %d with %d bytes does not fit into the image after the one before", p.Number, p.Start, p.Size)
		}
		end = p.Start + p.Size
	}
}

func checkSHA256(bad complain, what, sum string) {
	if !sha256Digits.MatchString(sum) || strings.Count(sum, sum[:1]) == len(sum) {
		bad("%s: %q is no SHA-256", what, sum)
	}
}

func checkDigest(bad complain, what, digest string) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	if !ok {
		bad("%s: %q is no digest: want sha256:…", what, digest)
		return
	}
	checkSHA256(bad, what, sum)
}

// Write validates m and writes it to path, whole or not at all.
func (m Manifest) Write(path string) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("build manifest %s: %w", path, err)
	}
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("build manifest %s: %w", path, err)
	}
	content = append(content, '\n')
	if err := renameio.WriteFile(path, content, 0o644); err != nil {
		return diskFull(fmt.Errorf("build manifest: %w", err), path, int64(len(content)))
	}
	return nil
}

// ReadManifest reads and validates a build manifest.
func ReadManifest(path string) (Manifest, error) {
	var m Manifest
	content, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w; `go tool mage compress` writes it", err)
		}
		return m, fmt.Errorf("reading the build manifest: %w", err)
	}
	var version struct {
		SchemaVersion int `json:"schema_version"`
	}
	if err := json.Unmarshal(content, &version); err == nil && version.SchemaVersion > SchemaVersion {
		return m, fmt.Errorf("build manifest %s: schema_version %d is of a newer program than this, which knows %d", path, version.SchemaVersion, SchemaVersion)
	}
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("reading the build manifest %s: %w", path, err)
	}
	if dec.More() {
		return Manifest{}, fmt.Errorf("build manifest %s: there is more after it in the file", path)
	}
	if err := m.Validate(); err != nil {
		return Manifest{}, fmt.Errorf("build manifest %s is not valid: %w", path, err)
	}
	return m, nil
}

// Paths returns the files m describes, in the directory of the manifest.
func (m Manifest) Paths(manifestPath string) Names {
	return namesOf(strings.TrimSuffix(m.RawImage.Name, ".img")).In(filepath.Dir(manifestPath))
}
