// Package npm fetches packages of npm that a lock file pins, without npm. They are
// such as need no others and nothing run to install them.
package npm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Package is one of a lock file.
type Package struct {
	Name      string            `json:"-"`
	Version   string            `json:"version"`
	Resolved  string            `json:"resolved"`  // URL of its archive
	Integrity string            `json:"integrity"` // of that: sha512-BASE64
	Needs     map[string]string `json:"dependencies"`
}

// ReadLock reads a package-lock.json, as `npm install --package-lock-only
// --omit-lockfile-registry-resolved=false` writes it, and returns its packages by
// name. The error holds every problem found.
func ReadLock(path string) (map[string]Package, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Packages map[string]Package `json:"packages"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	found := map[string]Package{}
	var problems []error
	for key, p := range file.Packages {
		if key == "" { // what needs them
			continue
		}
		p.Name = strings.TrimPrefix(key, "node_modules/")
		if !strings.HasPrefix(p.Resolved, "https://") {
			problems = append(problems, fmt.Errorf("%s: %s has no URL: write the file with --omit-lockfile-registry-resolved=false", path, p.Name))
		}
		if _, err := p.digest(); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", path, err))
		}
		if len(p.Needs) > 0 {
			problems = append(problems, fmt.Errorf("%s: %s needs other packages, which nothing here installs", path, p.Name))
		}
		found[p.Name] = p
	}
	return found, errors.Join(problems...)
}

func (p Package) digest() ([]byte, error) {
	encoded, ok := strings.CutPrefix(p.Integrity, "sha512-")
	digest, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(digest) != sha512.Size {
		return nil, fmt.Errorf("%s: integrity %q is no sha512", p.Name, p.Integrity)
	}
	return digest, nil
}

// limit is what an archive may have, packed and unpacked.
const limit = 512 << 20

// Extract writes one file of the package, which is fetched unless the cache has it,
// to a path. What the cache has is verified like what is fetched.
func (p Package) Extract(ctx context.Context, cache, file, to string, mode os.FileMode) error {
	archive, err := p.archive(ctx, cache)
	if err == nil {
		err = extract(archive, "package/"+file, to, mode)
	}
	if err != nil {
		return fmt.Errorf("%s %s of npm: %w", p.Name, p.Version, err)
	}
	return nil
}

func (p Package) archive(ctx context.Context, cache string) ([]byte, error) {
	want, err := p.digest()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cache, hex.EncodeToString(want)[:32]+".tgz")
	kept, err := os.ReadFile(path)
	if err == nil && matches(kept, want) {
		return kept, nil
	}
	fetched, err := fetch(ctx, p.Resolved)
	if err != nil {
		return nil, err
	}
	if !matches(fetched, want) {
		return nil, fmt.Errorf("%s is not what its integrity says; if a proxy or mirror is between, it serves something else", p.Resolved)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	return fetched, renameio.WriteFile(path, fetched, 0o644)
}

func matches(content, want []byte) bool {
	got := sha512.Sum512(content)
	return bytes.Equal(got[:], want)
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; check the network and proxy settings", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", url, err)
	}
	return content, nil
}

func extract(archive []byte, name, to string, mode os.FileMode) error {
	unpacked, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	for files := tar.NewReader(io.LimitReader(unpacked, limit)); ; {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("it has no %s", name)
		}
		if err != nil {
			return err
		}
		if head.Name != name || head.Typeflag != tar.TypeReg {
			continue
		}
		f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, files)
		return errors.Join(err, f.Close())
	}
}
