// Package dockerd finds the Docker daemon that the command line would talk to, and
// knows of it what more than one user of it needs.
package dockerd

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/connhelper"
	dockercontext "github.com/docker/cli/cli/context"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// oldestAPI is that of Docker 20.10, the oldest one this was tried with.
const oldestAPI = "1.41"

// defaultContext is Docker's name for "no context".
const defaultContext = "default"

// Connect returns a client of the Docker daemon that `docker` itself would
// talk to: DOCKER_HOST, or else DOCKER_CONTEXT, or else the context chosen in
// Docker's configuration, or else the local socket.
func Connect(ctx context.Context) (*client.Client, error) {
	opts, err := clientOptions()
	if err != nil {
		return nil, err
	}
	docker, err := client.NewClientWithOpts(append(opts, client.WithAPIVersionNegotiation())...)
	if err != nil {
		return nil, fmt.Errorf("setting up a client of the Docker daemon: %w", err)
	}
	if err := greet(ctx, docker); err != nil {
		return nil, errors.Join(err, docker.Close())
	}
	return docker, nil
}

func clientOptions() ([]client.Opt, error) {
	name, err := contextName()
	if err != nil {
		return nil, err
	}
	if name != defaultContext {
		return contextOptions(name)
	}
	host := os.Getenv(client.EnvOverrideHost)
	if strings.HasPrefix(host, "ssh://") {
		return sshOptions(host)
	}
	return []client.Opt{client.FromEnv}, nil
}

func contextName() (string, error) {
	if os.Getenv(client.EnvOverrideHost) != "" {
		return defaultContext, nil
	}
	if name := os.Getenv("DOCKER_CONTEXT"); name != "" {
		return name, nil
	}
	file, err := Config()
	if err != nil {
		return "", err
	}
	if file.CurrentContext != "" {
		return file.CurrentContext, nil
	}
	return defaultContext, nil
}

// configDir is where Docker's command line keeps its configuration.
func configDir() string { return cmp.Or(os.Getenv(config.EnvOverrideConfigDir), config.Dir()) }

// Config reads the configuration of Docker's command line, with the credentials
// that `docker login` stored.
func Config() (*configfile.ConfigFile, error) {
	file, err := config.Load(configDir())
	if err != nil {
		return nil, fmt.Errorf("reading Docker's configuration in %s: %w", configDir(), err)
	}
	return file, nil
}

// contextOptions reads an entry of `docker context ls`.
func contextOptions(name string) ([]client.Opt, error) {
	const endpoint = "docker"
	contexts := store.New(filepath.Join(configDir(), "contexts"), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(endpoint, func() any { return &dockercontext.EndpointMetaBase{} }),
	))
	fail := func(err error) ([]client.Opt, error) {
		return nil, fmt.Errorf("reading the Docker context %q: %w; `docker context ls` lists those there are, and `docker context use` chooses one", name, err)
	}
	entry, err := contexts.GetMetadata(name)
	if err != nil {
		return fail(err)
	}
	meta, ok := entry.Endpoints[endpoint].(dockercontext.EndpointMetaBase)
	if !ok || meta.Host == "" {
		return fail(errors.New("it names no Docker daemon"))
	}
	if strings.HasPrefix(meta.Host, "ssh://") {
		return sshOptions(meta.Host)
	}
	opts := []client.Opt{client.WithHost(meta.Host), client.WithVersionFromEnv()}
	files, err := dockercontext.LoadTLSData(contexts, name, endpoint)
	if err != nil {
		return fail(err)
	}
	if files == nil && !meta.SkipTLSVerify {
		return opts, nil
	}
	settings, err := tlsConfig(files, meta.SkipTLSVerify)
	if err != nil {
		return fail(err)
	}
	transport := &http.Transport{TLSClientConfig: settings}
	return append([]client.Opt{client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect})}, opts...), nil
}

func tlsConfig(files *dockercontext.TLSData, skipVerify bool) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skipVerify} //nolint:gosec // the user told docker so
	if files == nil {
		return c, nil
	}
	if files.CA != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(files.CA) {
			return nil, errors.New("its ca.pem holds no certificate")
		}
	}
	if files.Cert != nil || files.Key != nil {
		pair, err := tls.X509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// sshOptions talk to the daemon through `ssh HOST docker system dial-stdio`.
func sshOptions(host string) ([]client.Opt, error) {
	helper, err := connhelper.GetConnectionHelper(host)
	if err != nil {
		return nil, fmt.Errorf("the Docker daemon at %s: %w", host, err)
	}
	return []client.Opt{
		client.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: helper.Dialer}}),
		client.WithHost(helper.Host),
		client.WithDialContext(helper.Dialer),
		client.WithVersionFromEnv(),
	}, nil
}

// greet makes sure that the daemon answers and is not too old.
func greet(ctx context.Context, docker *client.Client) error {
	host := docker.DaemonHost()
	ping, err := docker.Ping(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not use the Docker daemon at %s: %w; let root do it, or add the user to the group docker (`sudo usermod -aG docker $USER`, then log in again)", host, err)
	case Unreachable(err):
		return fmt.Errorf("no Docker daemon answers at %s; start it (`sudo systemctl start docker`), or point DOCKER_HOST or `docker context use` at one: %w", host, err)
	case err != nil:
		return fmt.Errorf("the Docker daemon at %s: %w", host, err)
	}
	if ping.OSType != "" && ping.OSType != "linux" {
		return fmt.Errorf("the Docker daemon at %s runs %s containers, not Linux ones", host, ping.OSType)
	}
	if versions.LessThan(ping.APIVersion, oldestAPI) {
		return fmt.Errorf("the Docker daemon at %s is too old: it speaks version %q of the API, and %s (Docker 20.10) is the oldest that will do; upgrade Docker there", host, ping.APIVersion, oldestAPI)
	}
	return nil
}

// Unreachable reports whether err means that nobody answered, as against an
// answer that is an error.
func Unreachable(err error) bool {
	var network *net.OpError
	return client.IsErrConnectionFailed(err) || errors.As(err, &network) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// HostID tells machines apart that use the same daemon, containers of one
// machine included.
func HostID() string {
	name, _ := os.Hostname()
	id, _ := os.ReadFile("/etc/machine-id")
	return strings.TrimSpace(name + " " + string(id))
}

// GoArch translates what uname says, and so the daemon, into Go's name.
func GoArch(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return machine
}

// Load gives the daemon an image under a name.
func Load(ctx context.Context, docker *client.Client, tag name.Tag, img v1.Image) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(tarball.Write(tag, img, w)) }()
	response, err := docker.ImageLoad(ctx, r)
	if err == nil {
		err = loaded(response.Body)
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("loading the image %s into the Docker daemon: %w", tag, err)
	}
	return nil
}

// loaded reads what the daemon says of a load, and returns its error.
func loaded(body io.ReadCloser) error {
	defer body.Close()
	for messages := json.NewDecoder(body); ; {
		var m jsonmessage.JSONMessage
		if err := messages.Decode(&m); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != nil {
			return m.Error
		}
	}
}
