package pipeline

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/lab"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// ContainerImagesDir is the profile's directory below docker-images/.
func (b *Build) ContainerImagesDir() string { return filepath.Join(b.Root, b.values.containerImages) }

// ContainerImages saves the services' images as archives into the profile's
// directory below docker-images/.
func (b *Build) ContainerImages(ctx context.Context) error {
	o := containerimage.Options{
		ListFile: imagesList(b.Root),
		Services: b.Services.Names(),
		Devices:  b.values.devices,
		Dir:      b.ContainerImagesDir(),
		CacheDir: b.downloads.Blobs(),
		Mirror:   b.Mirror,
		Update:   b.Update,
		Reporter: b.Log,
	}
	standIns, err := b.StandIns()
	if err != nil {
		return err
	}
	if b.values.standIns {
		if o.MirrorID, err = lab.InputsDigest(standIns); err != nil {
			return err
		}
		o.CacheDir = b.Cache.Blobs()
		o.Mirror = "127.0.0.1:0" // until it runs; its identity is MirrorID
	} else {
		o.LockFile, o.Locked = filepath.Join(b.Root, "skopeo", "images.lock"), b.Locked
	}
	inputs, err := containerimage.InputsDigest(o)
	if err != nil {
		return err
	}
	outputs := []string{b.savedLock(), filepath.Join(o.Dir, containerimage.SumsFile), filepath.Join(o.Dir, containerimage.EnvFile)}
	for _, e := range standIns.Images {
		outputs = append(outputs, filepath.Join(o.Dir, e.Name+".tar"))
	}
	if b.Update {
		if err := b.stages.Forget("container-images"); err != nil {
			return err
		}
	}
	return b.stages.Do(ctx, stage.Stage{
		Name:    "container-images",
		Inputs:  map[string]string{"images.txt, images.lock or registry": inputs},
		Outputs: outputs,
		Run: func(ctx context.Context) error {
			if !b.values.standIns {
				return b.download(ctx, o)
			}
			mirror, stop, err := lab.StartRegistry(ctx, standIns)
			if err != nil {
				return err
			}
			o.Mirror = mirror
			return errors.Join(b.download(ctx, o), stop())
		},
	})
}

// StandIns are the services of the profile, as a registry of the lab serves them.
func (b *Build) StandIns() (lab.Options, error) {
	listed, err := containerimage.ReadList(imagesList(b.Root))
	if err != nil {
		return lab.Options{}, err
	}
	names := b.Services.Names()
	entries := slices.DeleteFunc(listed, func(e containerimage.Entry) bool { return !slices.Contains(names, e.Name) })
	return lab.Options{ModuleDir: b.Root, Services: b.Services, Images: entries, Reporter: b.Log}, nil
}

func (b *Build) download(ctx context.Context, o containerimage.Options) error {
	result, err := containerimage.Download(ctx, o)
	if err != nil {
		return err
	}
	if o.LockFile != "" && result.LockChanged {
		if err := containerimage.WriteLock(o.LockFile, result.Lock); err != nil {
			return err
		}
		b.Log.Printf("%s has new digests: commit it, so that the next build pulls the same images", o.LockFile)
	}
	var saved []containerimage.Locked
	for _, img := range result.Images {
		saved = append(saved, img.Locked)
	}
	return containerimage.WriteLock(b.savedLock(), saved)
}

// savedLock is the file that says which digests were saved, pinned or not.
func (b *Build) savedLock() string { return filepath.Join(b.stages.Dir, "images.lock") }
