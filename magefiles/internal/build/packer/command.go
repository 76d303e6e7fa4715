package packer

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
)

// Paths in the container.
const (
	treeDir   = "/build"           // the builder's working directory
	outputDir = treeDir + "/build" // where the recipe's image_path points
	baseDir   = "/base"
)

func basePath(img baseimage.Image) string { return path.Join(baseDir, path.Base(img.Path)) }

func imagePath(job build.Job) string { return path.Join(outputDir, path.Base(job.Image)) }

// arguments are Packer's. The base image is here already, verified, so its
// place takes that of the URL it came from.
func (e Engine) arguments(job build.Job) []string {
	vars := maps.Clone(e.Vars)
	if vars == nil {
		vars = map[string]string{}
	}
	vars["base_image_url"] = basePath(job.Base)
	vars["base_image_sha256"] = job.Base.SHA256
	args := []string{"build", "-machine-readable", "-var-file=" + e.VarFile}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		args = append(args, "-var", name+"="+vars[name])
	}
	return append(args, e.Template)
}

// environment is the container's, and, since the builder passes its own on,
// the provisioners' too. Nothing of the caller's gets into it.
func environment(job build.Job) []string {
	return slices.Concat(job.Recipe.Source.ChrootEnv, []string{
		"HOME=/root",
		"CHECKPOINT_DISABLE=1", // Packer asks nobody for news
		"PACKER_CACHE_DIR=/tmp/packer_cache",
		// The builder would replace the handlers of the whole machine.
		"SETUP_QEMU=false",
	})
}

// config is what runs in the container.
func (e Engine) config(job build.Job, image string, labels map[string]string) *container.Config {
	return &container.Config{
		Image:    image,
		Cmd:      e.arguments(job),
		Env:      environment(job),
		Hostname: "localhost",
		Labels:   labels,
	}
}

// hostConfig is what the builder needs of the machine: all of it, to attach
// loop devices and to mount what is on them.
func hostConfig(mounts []mount.Mount) *container.HostConfig {
	return &container.HostConfig{
		Privileged: true,
		Mounts:     append([]mount.Mount{{Type: mount.TypeBind, Source: "/dev", Target: "/dev"}}, mounts...),
	}
}

// sharedMounts show the container this machine's files; only the output
// directory can be written to.
func sharedMounts(root, output string, img baseimage.Image) []mount.Mount {
	return []mount.Mount{
		{Type: mount.TypeBind, Source: root, Target: treeDir, ReadOnly: true},
		{Type: mount.TypeBind, Source: output, Target: outputDir},
		{Type: mount.TypeBind, Source: img.Path, Target: basePath(img), ReadOnly: true},
	}
}

// volumeMounts give the container a volume of its daemon to work in.
func volumeMounts(volume string) []mount.Mount {
	return []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: treeDir}}
}

func containerName(id string) string { return "cubeos-" + strings.ToLower(id) }
