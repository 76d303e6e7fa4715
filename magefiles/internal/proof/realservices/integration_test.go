//go:build integration

package realservices

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/lab"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/contract"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd/dockerdtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const repo = "../../../.."

// standIns are the options of a run of the lab's images, which are for arm64 as the
// real ones are.
func standIns(t *testing.T) Options {
	t.Helper()
	root, err := filepath.Abs(repo)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.SetUpARM64(t.Context(), progress.New(os.Stderr)); err != nil {
		t.Fatal(err)
	}
	all, err := services.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	list, err := all.For([]string{"registry"})
	if err != nil {
		t.Fatal(err)
	}
	images := filepath.Join(root, "skopeo/images.txt")
	entries, err := containerimage.ReadList(images)
	if err != nil {
		t.Fatal(err)
	}
	mirror, stop, err := lab.StartRegistry(t.Context(), lab.Options{ModuleDir: root, Services: list, Images: entries})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, err = containerimage.Download(t.Context(), containerimage.Options{ListFile: images, Services: list.Names(), Dir: dir, CacheDir: t.TempDir(), Mirror: mirror})
	if err := errors.Join(err, stop()); err != nil {
		t.Fatal(err)
	}
	return Options{
		Root: root, Services: list, Images: dir, Version: "1.2.3", Epoch: time.Unix(1754697600, 0),
		Variables: map[string]string{"CUBEOS_WIFI_COUNTRY": "NL", "CUBEOS_WIFI_KEY_MODE": "mac", "CUBEOS_DEVICE_PASSWORDS": "documented", "CUBEOS_HOSTNAME": "cubeos"},
		Lock:      filepath.Join(dir, "lock"), Log: progress.New(os.Stderr), patience: 3 * time.Minute,
	}
}

// inDaemon is all that a daemon has.
func inDaemon(t *testing.T, d *dockerdtest.Daemon) (found []string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	containers, err := d.ContainerList(ctx, container.ListOptions{All: true})
	for _, c := range containers {
		found = append(found, c.Names...)
	}
	networks, networkErr := d.NetworkList(ctx, network.ListOptions{})
	for _, n := range networks {
		found = append(found, n.Name)
	}
	volumes, volumeErr := d.VolumeList(ctx, volume.ListOptions{})
	for _, v := range volumes.Volumes {
		found = append(found, v.Name)
	}
	images, imageErr := d.ImageList(ctx, image.ListOptions{All: true})
	for _, i := range images {
		found = append(found, i.RepoTags...)
	}
	if err := errors.Join(err, networkErr, volumeErr, imageErr); err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func TestStandInsAreAskedAsTheRealOnes(t *testing.T) {
	d := dockerdtest.Start(t)
	o := standIns(t)
	before := inDaemon(t, d)
	nothingLeft := func() {
		t.Helper()
		if diff := cmp.Diff(before, inDaemon(t, d)); diff != "" {
			t.Errorf("what the daemon has (-before +after):\n%s", diff)
		}
	}

	t.Run("all alike", func(t *testing.T) {
		o.WorkDir = t.TempDir()
		results, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := results.Err(); err != nil {
			t.Error(err)
		}
		for i, r := range results {
			suite, err := contract.For(r.Service)
			if (err != nil) != r.NoContract || r.Requests != len(suite.Steps) || r.Service != o.Services[i].Name {
				t.Errorf("%+v", r)
			}
		}
		if len(results) != len(o.Services) {
			t.Errorf("%d results of %d services", len(results), len(o.Services))
		}
		nothingLeft()
	})

	// 05-docker-preload.sh wants Pi-hole's image.
	two := slices.DeleteFunc(slices.Clone(o.Services), func(s services.Service) bool { return s.Name != "pihole" && s.Name != "cubeos-hal" })
	t.Run("one differs, one does not start", func(t *testing.T) {
		o.WorkDir, o.Services, o.patience = t.TempDir(), slices.Clone(two), 8*time.Second
		o.Services[1].HTTP.Health = "/no/such"
		o.suite = func(service string) (contract.Suite, error) {
			s, err := contract.For(service)
			s.Steps = append(slices.Clone(s.Steps), contract.Step{Name: "something new", Path: "/new", Status: 418})
			return s, err
		}
		results, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		var table strings.Builder
		if err := results.Write(&table); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"DIFFERS in 1 of ", "DOES NOT START"} {
			if !strings.Contains(table.String(), want) {
				t.Errorf("the table does not say %q:\n%s", want, table.String())
			}
		}
		for _, want := range []string{"pihole, cubeos-hal: ", "something new", "/new answered ", "cubeos-hal: it "} {
			if err := results.Err(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
		nothingLeft()
	})

	t.Run("killed, then cancelled", func(t *testing.T) {
		o.WorkDir, o.Services, o.patience = t.TempDir(), two, time.Minute
		killed := &run{Options: o, docker: d.Client, id: runID(o.Lock)}
		if err := killed.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := killed.start(t.Context(), two[0]); err != nil {
			t.Fatal(err)
		}
		o.WorkDir = t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		o.suite = func(string) (contract.Suite, error) {
			cancel()
			return contract.Suite{Steps: []contract.Step{{Name: "any", Path: "/"}}}, nil
		}
		if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		nothingLeft()
	})
}
