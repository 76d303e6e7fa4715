// Package imagerlist keeps the list of images that Raspberry Pi Imager offers.
package imagerlist

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// Listing is how an image presents itself in the list.
type Listing struct {
	Name        string // also what tells the entries of a list apart
	Description string
	Icon        string   // URL
	Website     string   // URL; may be empty
	URL         string   // of the compressed image
	BlockMapURL string   // of its block map; empty if it is not published
	Devices     []string // Imager's tags of the boards it is offered for
	// Capabilities are what Imager may offer beyond the usual settings, in the
	// schema's words.
	Capabilities []string
}

// Entry is an image in the list. All but its looks and addresses comes from
// the build manifest.
type Entry struct {
	Name                string   `json:"name"`
	Description         string   `json:"description"`
	Icon                string   `json:"icon"`
	Website             string   `json:"website,omitempty"`
	URL                 string   `json:"url"`
	BlockMapURL         string   `json:"bmap_url,omitempty"`
	ExtractSize         int64    `json:"extract_size"`
	ExtractSHA256       string   `json:"extract_sha256"`
	ImageDownloadSize   int64    `json:"image_download_size"`
	ImageDownloadSHA256 string   `json:"image_download_sha256"` // not in the schema, but Imager's own tools use it
	ReleaseDate         string   `json:"release_date"`
	InitFormat          string   `json:"init_format"`
	Architecture        string   `json:"architecture"`
	Devices             []string `json:"devices"`
	Capabilities        []string `json:"capabilities,omitempty"`
}

// newEntry builds the entry of the image that m describes. released asks for
// what other people's machines need: public addresses of a publishable image.
func newEntry(m artifact.Manifest, l Listing, released bool) (Entry, error) {
	if err := m.Validate(); err != nil {
		return Entry{}, fmt.Errorf("the build manifest is not valid: %w", err)
	}
	var problems []error
	if released && !m.Publishable {
		problems = append(problems, fmt.Errorf("the build %s of profile %s is not publishable: neither is a lab image nor one of changed files", m.Version, m.Profile))
	}
	for _, text := range []struct{ what, value string }{{"name", l.Name}, {"description", l.Description}} {
		if strings.TrimSpace(text.value) == "" {
			problems = append(problems, fmt.Errorf("the entry has no %s", text.what))
		}
	}
	for _, u := range []struct {
		what, value, file string
		optional          bool
	}{
		{"url", l.URL, m.Compressed.Name, false}, {"bmap_url", l.BlockMapURL, m.BlockMap.Name, true},
		{"icon", l.Icon, "", false}, {"website", l.Website, "", true},
	} {
		if u.optional && u.value == "" {
			continue
		}
		if err := checkURL(u.value, u.file, released); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", u.what, err))
		}
	}
	// The schema lets these pass, and Imager does not show such an entry.
	if m.BaseImage.InitFormat == "" {
		problems = append(problems, errors.New("the entry has no init_format"))
	}
	if len(l.Devices) == 0 {
		problems = append(problems, errors.New("the entry has no devices"))
	}
	e := Entry{
		Name:                l.Name,
		Description:         l.Description,
		Icon:                l.Icon,
		Website:             l.Website,
		URL:                 l.URL,
		BlockMapURL:         l.BlockMapURL,
		ExtractSize:         m.RawImage.Size,
		ExtractSHA256:       m.RawImage.SHA256,
		ImageDownloadSize:   m.Compressed.Size,
		ImageDownloadSHA256: m.Compressed.SHA256,
		ReleaseDate:         m.Created.UTC().Format("2006-01-02"),
		InitFormat:          m.BaseImage.InitFormat,
		Architecture:        "armv8",
		Devices:             l.Devices,
		Capabilities:        l.Capabilities,
	}
	return e, errors.Join(problems...)
}

// checkURL refuses an address that no other machine could use, and one of
// another file than file, if that is given.
func checkURL(address, file string, released bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return err
	case released && (u.Scheme != "https" || u.Host == "" || strings.HasSuffix(u.Hostname(), ".invalid")):
		return fmt.Errorf("%q: want a public https address", address)
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "file":
		return fmt.Errorf("%q: want an address with https, http or file", address)
	case file != "" && path.Base(u.Path) != file:
		return fmt.Errorf("%q: want the address of %s", address, file)
	}
	return nil
}

// FileURL returns the address of a file on this machine.
func FileURL(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("the address of %s: %w", name, err)
	}
	return (&url.URL{Scheme: "file", Path: abs}).String(), nil
}

// DownloadURL returns the address of a file below base, such as
// https://github.com/OWNER/REPOSITORY/releases/download/v1.2.3.
func DownloadURL(base, name string) (string, error) {
	u, err := url.JoinPath(base, url.PathEscape(name))
	if err != nil {
		return "", fmt.Errorf("the address of %s: %w", name, err)
	}
	return u, nil
}
