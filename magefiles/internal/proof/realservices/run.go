package realservices

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd"
)

// label is on all that a run makes in a daemon, with the run's ID.
const label = "app.cubeos.releases.contract"

// dockerSocket is where a device's Docker daemon answers, and in the container that
// stands for it one that has nothing.
const dockerSocket = "/var/run/docker.sock"

// filesAt is where that container has the device's files.
const filesAt = "/device-files"

// run is what was made in a daemon.
type run struct {
	Options
	docker *client.Client
	id     string
	device device
	files  string // the device's root directory, where the daemon has it
	holder string // the container that stands for the device
	addr   string // of that, in the run's network
}

// running is a service that was started.
type running struct {
	name      string
	container string
	image     string   // as images.txt has it
	base      *url.URL // where it answers, as seen from the holder
}

// runID is the same for every run that holds the same lock: what one leaves that is
// killed, the next one finds.
func runID(lock string) string {
	sum := sha256.Sum256([]byte(dockerd.HostID() + "\n" + lock))
	return fmt.Sprintf("%x", sum[:5])
}

func (r *run) named(what string) string { return "cubeos-contract-" + r.id + "-" + what }

func (r *run) labels() map[string]string { return map[string]string{label: r.id} }

// repository is where the images of this run are in the daemon. They are loaded by
// names of their own, so that no other image loses its name.
func (r *run) repository() string { return "localhost/cubeos-contract-" + r.id }

// prepare makes the device that the services run on.
func (r *run) prepare(ctx context.Context) error {
	var err error
	if r.device, err = makeDevice(ctx, filepath.Join(r.WorkDir, "device"), r.Options); err != nil {
		return err
	}
	// For the socket; and for what a container can not be given before it exists.
	for _, s := range r.Services {
		spec, err := r.spec(ctx, s)
		if err != nil {
			return err
		}
		if err := r.device.provide(spec); err != nil {
			return fmt.Errorf("preparing the device's files for %s: %w", s.Name, err)
		}
	}
	if _, err := r.docker.NetworkCreate(ctx, r.named("network"), network.CreateOptions{Driver: "bridge", Internal: true, Labels: r.labels()}); err != nil {
		return fmt.Errorf("creating the device's network: %w", err)
	}
	v, err := r.docker.VolumeCreate(ctx, volume.CreateOptions{Name: r.named("files"), Labels: r.labels()})
	if err != nil {
		return fmt.Errorf("creating a volume for the device's files: %w", err)
	}
	r.files = v.Mountpoint
	return r.hold(ctx, v.Name)
}

// hold starts the container that stands for the device.
func (r *run) hold(ctx context.Context, files string) error {
	image, err := r.holderImage(ctx)
	if err != nil {
		return err
	}
	made, err := r.docker.ContainerCreate(ctx,
		&container.Config{Image: image, Entrypoint: []string{program}, Cmd: []string{"serve", filesAt + dockerSocket}, Labels: r.labels()},
		&container.HostConfig{
			NetworkMode: container.NetworkMode(r.named("network")),
			Mounts:      []mount.Mount{{Type: mount.TypeVolume, Source: files, Target: filesAt}},
		}, nil, nil, r.named("device"))
	if err != nil {
		return fmt.Errorf("creating the container that stands for the device: %w", err)
	}
	r.holder = made.ID
	pr, pw := io.Pipe()
	go func() {
		w := tar.NewWriter(pw)
		err := w.AddFS(os.DirFS(r.device.dir))
		pw.CloseWithError(errors.Join(err, w.Close()))
	}()
	err = r.docker.CopyToContainer(ctx, r.holder, filesAt, pr, container.CopyToContainerOptions{})
	if err := errors.Join(err, pr.Close()); err != nil {
		return fmt.Errorf("copying the device's files to the Docker daemon: %w", err)
	}
	if err := r.docker.ContainerStart(ctx, r.holder, container.StartOptions{}); err != nil {
		return fmt.Errorf("starting the container that stands for the device: %w", err)
	}
	state, err := r.docker.ContainerInspect(ctx, r.holder)
	if err != nil {
		return fmt.Errorf("asking for the address of the container that stands for the device: %w", err)
	}
	if at := state.NetworkSettings.Networks[r.named("network")]; at != nil {
		r.addr = at.IPAddress
	}
	return nil
}

// spec is how the device runs a service.
func (r *run) spec(ctx context.Context, s services.Service) (spec, error) {
	// Where Swarm's services find the device is known once it is there.
	r.device.settings["CUBEOS_BRIDGE_ADDRESS"] = r.addr
	if r.addr == "" {
		r.device.settings["CUBEOS_BRIDGE_ADDRESS"] = r.device.settings["CUBEOS_ADDRESS"]
	}
	return readSpec(ctx, r.Root, s, r.device.settings)
}

// start runs a service as the device does.
func (r *run) start(ctx context.Context, s services.Service) (running, error) {
	spec, err := r.spec(ctx, s)
	if err != nil {
		return running{}, err
	}
	made := running{name: s.Name, image: spec.Image}
	tag, err := r.load(ctx, s)
	if err != nil {
		return made, err
	}
	host := &container.HostConfig{
		NetworkMode:   container.NetworkMode(r.named("network")),
		Privileged:    spec.Privileged,
		CapAdd:        spec.Caps,
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		Mounts:        r.mounts(spec),
	}
	if spec.HostNetwork {
		host.NetworkMode = container.NetworkMode("container:" + r.holder)
	}
	if spec.HostPID {
		host.PidMode = container.PidMode("container:" + r.holder)
	}
	c, err := r.docker.ContainerCreate(ctx, &container.Config{Image: tag, Env: spec.Environment, Labels: r.labels()}, host, nil,
		&ocispec.Platform{OS: "linux", Architecture: "arm64"}, r.named(s.Name))
	if err != nil {
		return made, fmt.Errorf("creating its container: %w", err)
	}
	made.container = c.ID
	if err := r.docker.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		return made, fmt.Errorf("starting its container: %w", err)
	}
	at, port := "127.0.0.1", s.HTTP.Port
	if !spec.HostNetwork {
		state, err := r.docker.ContainerInspect(ctx, c.ID)
		if err != nil {
			return made, fmt.Errorf("asking for its address: %w", err)
		}
		at, port = state.NetworkSettings.Networks[r.named("network")].IPAddress, s.WebPort().Container()
	}
	made.base = &url.URL{Scheme: "http", Host: net.JoinHostPort(at, strconv.Itoa(port))}
	return made, nil
}

// load gives the daemon the image of a service, and returns its name there.
func (r *run) load(ctx context.Context, s services.Service) (string, error) {
	tag, err := name.NewTag(r.repository() + "/" + s.Name + ":device")
	if err != nil {
		return "", err
	}
	img, err := tarball.ImageFromPath(filepath.Join(r.Images, s.Name+".tar"), nil)
	if err != nil {
		return "", fmt.Errorf("reading its archive: %w", err)
	}
	return tag.String(), dockerd.Load(ctx, r.docker, tag, img)
}

// mounts are what the container of a service sees of the device.
func (r *run) mounts(s spec) []mount.Mount {
	var mounts []mount.Mount
	add := func(source, target string, readOnly bool) {
		mounts = append(mounts, mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: readOnly})
	}
	for _, m := range s.Mounts {
		source := m.Source
		if !ofKernel(source) {
			source = filepath.Join(r.files, source)
		}
		add(source, m.Target, m.ReadOnly)
	}
	for _, secret := range s.Secrets {
		add(filepath.Join(r.files, "secrets", secret.Name), "/run/secrets/"+secret.Target, true)
	}
	if len(s.DNS) > 0 {
		add(filepath.Join(r.files, resolverFile(s.DNS)), "/etc/resolv.conf", false)
	}
	return mounts
}

// tooManyRestarts is when a service is not waited for any longer.
const tooManyRestarts = 5

// await waits until a service answers as the boot scripts want it to.
func (r *run) await(ctx context.Context, s running, transport http.RoundTripper, health string) error {
	client := &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	deadline := time.Now().Add(r.patience)
	for {
		err := healthy(ctx, client, s.base.String()+health)
		if err == nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		state, stateErr := r.docker.ContainerInspect(ctx, s.container)
		if stateErr != nil {
			return errors.Join(err, stateErr)
		}
		if state.RestartCount >= tooManyRestarts {
			return fmt.Errorf("%s: it ends by itself, the last time with status %d%s", s.name, state.State.ExitCode, r.lastWords(ctx, s))
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: it does not answer within %s: %w%s", s.name, r.patience, err, r.lastWords(ctx, s))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func healthy(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// lastWords are the last lines that a service has printed.
func (r *run) lastWords(ctx context.Context, s running) string {
	stream, err := r.docker.ContainerLogs(ctx, s.container, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: "15"})
	if err != nil {
		return ""
	}
	defer stream.Close()
	var said strings.Builder
	_, _ = stdcopy.StdCopy(&said, &said, stream) // as far as it goes
	text := strings.TrimSpace(said.String())
	if text == "" {
		return ", and it says nothing"
	}
	return "; it says\n    " + strings.ReplaceAll(text, "\n", "\n    ")
}

// clear removes all that a run with this ID has made in the daemon.
func (r *run) clear(ctx context.Context) error {
	var problems []error
	add := func(err error) {
		if err != nil && !cerrdefs.IsNotFound(err) {
			problems = append(problems, err)
		}
	}
	mine := filters.NewArgs(filters.Arg("label", label+"="+r.id))
	containers, err := r.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: mine})
	add(err)
	for _, c := range containers {
		add(r.docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}))
	}
	networks, err := r.docker.NetworkList(ctx, network.ListOptions{Filters: mine})
	add(err)
	for _, n := range networks {
		add(r.docker.NetworkRemove(ctx, n.ID))
	}
	volumes, err := r.docker.VolumeList(ctx, volume.ListOptions{Filters: mine})
	add(err)
	for _, v := range volumes.Volumes {
		add(r.docker.VolumeRemove(ctx, v.Name, true))
	}
	images, err := r.docker.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", r.repository()+"/*"))})
	add(err)
	for _, i := range images {
		for _, tag := range i.RepoTags {
			if strings.HasPrefix(tag, r.repository()+"/") {
				_, err := r.docker.ImageRemove(ctx, tag, image.RemoveOptions{Force: true, PruneChildren: true})
				add(err)
			}
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("clearing away what was made in the Docker daemon (all of it is named cubeos-contract-%s): %w", r.id, err)
	}
	return nil
}
