package packer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Builder is the container image that Packer and its plugin come in.
type Builder struct {
	Reference string // with a tag
	Digest    string // pinned; "" takes what the tag stands for
}

// String is what the daemon is asked for.
func (b Builder) String() string {
	if b.Digest == "" {
		return b.Reference
	}
	repository := b.Reference
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository = repository[:i]
	}
	return repository + "@" + b.Digest
}

// present makes sure that the daemon has the builder's image, for its own
// architecture, and returns the digest by which the image can be pulled again,
// "" if it came from no registry.
func (b Builder) present(ctx context.Context, docker *client.Client, log *progress.Reporter) (string, error) {
	info, err := docker.Info(ctx)
	if err != nil {
		return "", fmt.Errorf("asking the Docker daemon what it runs on: %w", err)
	}
	arch := dockerd.GoArch(info.Architecture)
	img, err := docker.ImageInspect(ctx, b.String())
	if cerrdefs.IsNotFound(err) {
		if err := b.pull(ctx, docker, arch, log); err != nil {
			return "", err
		}
		img, err = docker.ImageInspect(ctx, b.String())
	}
	if err != nil {
		return "", fmt.Errorf("looking at the builder's image %s: %w", b, err)
	}
	if img.Architecture != arch {
		return "", fmt.Errorf("the builder's image %s that this Docker daemon has is for %s, but the daemon runs on %s: remove it there (`docker image rm %s`) and start again, to pull the right one", b, img.Architecture, arch, b)
	}
	return b.digestOf(img), nil
}

func (b Builder) digestOf(img image.InspectResponse) string {
	want, err := name.ParseReference(b.Reference)
	if err != nil {
		return ""
	}
	for _, known := range img.RepoDigests {
		if d, err := name.NewDigest(known); err == nil && d.Context() == want.Context() {
			return d.DigestStr()
		}
	}
	return ""
}

func (b Builder) pull(ctx context.Context, docker *client.Client, arch string, log *progress.Reporter) error {
	if b.Digest == "" {
		log.Printf("pulling the builder's image %s, which no digest is pinned for", b)
	} else {
		log.Printf("pulling the builder's image %s", b)
	}
	auth, noCredentials := b.credentials()
	if noCredentials != nil {
		log.Printf("warning: pulling it without credentials: %v", noCredentials)
	}
	stream, err := docker.ImagePull(ctx, b.String(), image.PullOptions{RegistryAuth: auth, Platform: "linux/" + arch})
	if err == nil {
		err = errors.Join(follow(stream, log), stream.Close())
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("pulling the builder's image %s for linux/%s: %w%s", b, arch, err, pullHint(err, noCredentials))
	}
	return nil
}

// pullHint is what to do about err. noCredentials is why there were none, if
// that is so.
func pullHint(err, noCredentials error) string {
	said := strings.ToLower(err.Error())
	denied := slices.ContainsFunc([]string{"denied", "unauthorized", "authentication required", "forbidden"}, func(s string) bool {
		return strings.Contains(said, s)
	})
	denied = denied || cerrdefs.IsUnauthorized(err) || cerrdefs.IsPermissionDenied(err)
	switch {
	case denied && noCredentials != nil:
		return fmt.Sprintf("\nthe registry refuses without credentials, and there are none (%v): `docker login` with an account that may pull it, or correct credsStore and credHelpers in Docker's config.json", noCredentials)
	case denied:
		return "\nthe registry refuses: `docker login` with an account that may pull it, or correct the name in packer/builder.txt"
	case strings.Contains(said, "no matching manifest"), strings.Contains(said, "does not match the specified platform"):
		return "\nthere is none for this kind of machine: use a Docker daemon on another one"
	case strings.Contains(said, "no space left"):
		return "\nthe disk of the Docker daemon is full: `docker system df` shows what is on it, `docker system prune` frees what is unused"
	case cerrdefs.IsNotFound(err), strings.Contains(said, "manifest unknown"), strings.Contains(said, "not found"):
		return "\nthe registry has no such image: correct packer/builder.txt, or its digest in packer/builder.lock"
	}
	return "\nif the daemon has no way to that registry, `docker load` the image there"
}

// credentials are those that `docker login` stored for the builder's registry. A
// public image needs none.
func (b Builder) credentials() (string, error) {
	ref, err := name.ParseReference(b.Reference)
	if err != nil {
		return "", fmt.Errorf("the builder's image %q: %w", b.Reference, err)
	}
	file, err := dockerd.Config()
	if err != nil {
		return "", err
	}
	key := ref.Context().RegistryStr()
	if key == name.DefaultRegistry {
		key = "https://index.docker.io/v1/" // under which Docker files its own hub
	}
	auth, err := file.GetAuthConfig(key)
	if err != nil {
		return "", fmt.Errorf("asking for the credentials of %s: %w", key, err)
	}
	return registry.EncodeAuthConfig(registry.AuthConfig{
		Username: auth.Username, Password: auth.Password, Auth: auth.Auth,
		ServerAddress: auth.ServerAddress, IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
	})
}

// follow shows what a pull reports until it ends, and returns its error.
func follow(stream io.Reader, log *progress.Reporter) error {
	task := log.Task("pulling", 0)
	defer task.End()
	layers := map[string]int64{}
	for messages := json.NewDecoder(stream); ; {
		var m jsonmessage.JSONMessage
		if err := messages.Decode(&m); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("following the pull: %w", err)
		}
		if m.Error != nil {
			return m.Error
		}
		task.Note(m.Status)
		if m.Status == "Downloading" && m.Progress != nil {
			task.Add(m.Progress.Current - layers[m.ID])
			layers[m.ID] = m.Progress.Current
		}
	}
}
