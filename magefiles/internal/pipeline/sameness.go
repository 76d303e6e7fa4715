package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/assist"
	"github.com/cubeos-app/releases/magefiles/internal/engine"
	"github.com/cubeos-app/releases/magefiles/internal/rootfs"
)

// allowance is a file whose contents may differ between two provisionings.
type allowance struct {
	path *regexp.Regexp
	why  string
}

// allowed are the differences between a provisioning with native programs and
// an emulated one that have nothing to do with either.
func allowed() []allowance {
	return []allowance{
		{regexp.MustCompile(`^/var/cache/ldconfig/aux-cache$`), "holds inode numbers"},
		{regexp.MustCompile(`^/etc/shadow$`), "holds the day of an account's making, and midnight may be between the two"},
	}
}

// Sameness runs the recipe twice, with native programs lent and wholly
// emulated, and returns an error that lists the files in which the two root
// file systems differ. Both runs are made anew, in a cache of their own.
func (b *Build) Sameness(ctx context.Context) (err error) {
	if !assist.Supported() {
		return errors.New("on this machine nothing is lent, so there is nothing to compare")
	}
	if err := b.ContainerImages(ctx); err != nil {
		return err
	}
	job, err := b.job(ctx)
	if err != nil {
		return err
	}
	lender, err := b.native(ctx)
	if err != nil {
		return err
	}
	if lender == nil {
		return errors.New("no native programs could be prepared, so there is nothing to compare")
	}
	scratch := filepath.Join(b.Cache, "sameness")
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()

	var manifests [2]rootfs.Manifest
	var took [2]time.Duration
	for i, run := range []struct {
		name   string
		lender rootfs.Lender
	}{{"native", lender}, {"emulated", nil}} {
		// What is lent is linked into place, so it has to be on one file system
		// with the layers; any directory of the cache is.
		store, err := rootfs.Open(filepath.Join(scratch, run.name), b.Log)
		if err != nil {
			return err
		}
		job.LogDir = filepath.Join(b.dir, "log", run.name)
		started := time.Now()
		layers, err := engine.Embedded{Store: store, Lender: run.lender, Log: b.Log}.Provision(ctx, job)
		if err != nil {
			return fmt.Errorf("the %s provisioning: %w", run.name, err)
		}
		took[i] = time.Since(started)
		view, err := rootfs.NewView(layers, filepath.Join(scratch, run.name+".view"))
		if err != nil {
			return err
		}
		manifests[i], err = rootfs.ReadManifest(ctx, view)
		if err := errors.Join(err, view.Close()); err != nil {
			return err
		}
	}
	b.Log.Printf("provisioned %d files natively in %s, emulated in %s: %.2f of the time",
		len(manifests[0]), took[0].Round(time.Second), took[1].Round(time.Second), took[0].Seconds()/took[1].Seconds())
	return judge(b.Log.Printf, manifests[0].Differences(manifests[1]))
}

func judge(report func(string, ...any), differences []rootfs.Difference) error {
	var bad []string
	for _, d := range differences {
		why := ""
		for _, a := range allowed() {
			if a.path.MatchString(d.Path) && d.What == "contents" {
				why = a.why
			}
		}
		if why == "" {
			bad = append(bad, d.Path+": "+d.What)
			continue
		}
		report("allowed: %s, %s", d.Path, why)
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d files differ between native and emulated provisioning:\n%s", len(bad), strings.Join(bad, "\n"))
	}
	report("the two root file systems are the same")
	return nil
}
