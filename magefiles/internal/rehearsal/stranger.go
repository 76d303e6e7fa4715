package rehearsal

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/release/imagerlist"
)

// fetch does what Raspberry Pi Imager does with the address of the list, and nothing
// else is known to it.
func (r *rehearsal) fetch(ctx context.Context) (err error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.authority.Pool(), MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	var list struct {
		Entries []imagerlist.Entry `json:"os_list"`
	}
	body, err := get(ctx, client, r.addresses.github+"/"+owner+"/"+repository+"/raw/HEAD/rpi-imager.json")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return fmt.Errorf("reading the published list: %w", err)
	}
	if len(list.Entries) != 1 {
		return fmt.Errorf("the published list has %d entries, want one", len(list.Entries))
	}
	entry := list.Entries[0]
	archive, err := r.save(ctx, client, entry)
	if err != nil {
		return fmt.Errorf("downloading %s: %w", entry.URL, err)
	}
	r.found = card.Artifact{XZPath: archive, RawSHA256: entry.ExtractSHA256, RawSize: entry.ExtractSize}
	return nil
}

func get(ctx context.Context, client *http.Client, address string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s is answered with %s", address, resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// save downloads the image of an entry and compares it with what the entry says.
func (r *rehearsal) save(ctx context.Context, client *http.Client, entry imagerlist.Entry) (path string, err error) {
	address, err := url.Parse(entry.URL)
	if err != nil {
		return "", err
	}
	body, err := get(ctx, client, entry.URL)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	dir := filepath.Join(r.dir, "stranger")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return "", err
	}
	path = filepath.Join(dir, filepath.Base(address.Path))
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), body)
	if err != nil {
		return "", err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != entry.ImageDownloadSize || got != entry.ImageDownloadSHA256 {
		return "", fmt.Errorf("it has %d bytes and the sha256 %s; the list says %d and %s", n, got, entry.ImageDownloadSize, entry.ImageDownloadSHA256)
	}
	if !strings.HasSuffix(path, ".img.xz") {
		return "", fmt.Errorf("%s is no compressed image", path)
	}
	return path, nil
}

// boot unpacks the image, which has to be what the list says, and boots it.
func (r *rehearsal) boot(ctx context.Context) error {
	return r.Boot(ctx, r.found, filepath.Join(r.dir, "boot"))
}
