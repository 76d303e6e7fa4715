package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/lab"
	"github.com/cubeos-app/releases/magefiles/internal/rehearsal/hosts"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// addresses are what the clone's recipe has other values for.
type addresses struct {
	baseImage, baseSHA256     string
	docker, dockerFingerprint string
	mirror                    string   // HOST:PORT
	publishTo                 []string // two
	releases, github          string
}

// serve serves a handler until the rehearsal ends and returns HOST:PORT.
func (r *rehearsal) serve(ctx context.Context, handler http.Handler) (string, error) {
	address, stop, err := r.authority.Serve(ctx, handler)
	if err == nil {
		r.stops = append(r.stops, stop)
	}
	return address, err
}

// Names in the directory of the rehearsal.
const (
	baseFile      = "raspios-lookalike-arm64-lite.img.xz"
	authorityFile = "authority.pem"
	certificates  = "etc/ssl/certs/ca-certificates.crt"
)

// serveBaseImage packs the base image as Raspberry Pi's server has it. The image
// trusts the rehearsal's authority: what runs in it speaks TLS with its servers.
func (r *rehearsal) serveBaseImage(ctx context.Context) (err error) {
	if r.authority, err = hosts.OpenAuthority(r.dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.dir, authorityFile), r.authority.PEM, 0o644); err != nil {
		return err
	}
	raw := filepath.Join(r.dir, strings.TrimSuffix(baseFile, ".xz"))
	defer func() { err = errors.Join(err, removeIfThere(raw)) }()
	if err := process.Run(ctx, "cp", "--sparse=always", r.BaseImage, raw); err != nil {
		return err
	}
	if err := r.trust(ctx, raw); err != nil {
		return fmt.Errorf("having the base image trust the rehearsal's servers: %w", err)
	}
	packed := raw + ".xz"
	if err := process.Run(ctx, "xz", "--force", "--keep", "--threads=0", "-0", raw); err != nil {
		return err
	}
	if r.addresses.baseSHA256, err = stage.FileDigest(packed); err != nil {
		return err
	}
	address, err := r.serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/"+baseFile {
			http.NotFound(w, req)
			return
		}
		http.ServeFile(w, req, packed)
	}))
	r.addresses.baseImage = "https://" + address + "/" + baseFile
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// trust adds the authority to those that the programs of an image trust.
func (r *rehearsal) trust(ctx context.Context, raw string) error {
	table, err := diskimage.Read(ctx, raw)
	if err != nil {
		return err
	}
	_, root, err := table.RaspberryPi()
	if err != nil {
		return err
	}
	trusted, err := diskimage.ReadExt4File(ctx, raw, root, "/"+certificates)
	if err != nil {
		return err
	}
	if trusted == "" {
		return fmt.Errorf("it has no /%s", certificates)
	}
	return errors.Join(
		diskimage.WriteExt4File(ctx, raw, root, "/"+certificates, []byte(trusted+"\n"+string(r.authority.PEM))),
		diskimage.WriteExt4File(ctx, raw, root, "/usr/local/share/ca-certificates/rehearsal.crt", r.authority.PEM),
	)
}

func (r *rehearsal) serveDocker(ctx context.Context) (err error) {
	dir := filepath.Join(r.dir, "docker")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if r.addresses.dockerFingerprint, err = hosts.DockerRepository(ctx, filepath.Join(dir, "linux/debian"), r.Suite, r.Mirror); err != nil {
		return err
	}
	address, err := r.serve(ctx, http.FileServer(http.Dir(dir)))
	r.addresses.docker = "https://" + address + "/linux/debian"
	return err
}

func (r *rehearsal) serveRegistry(ctx context.Context) error {
	registry := hosts.NewRegistry()
	if err := lab.Fill(ctx, registry.Fill, r.Lab); err != nil {
		return err
	}
	address, err := r.serve(ctx, registry.Strangers())
	r.addresses.mirror = address
	return err
}
