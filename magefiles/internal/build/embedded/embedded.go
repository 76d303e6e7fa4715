// Package embedded runs a recipe without Packer or Docker, over file trees.
package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/docker/go-units"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Engine runs the provisioners itself, over file trees: each makes a rootfs
// layer that is used again for as long as nothing it depends on changes. It
// needs root, but no Docker.
type Engine struct {
	Store    *layer.Store
	Native   chroot.NativeOverlay // nil runs every program emulated
	Archives *debian.Archives
	// Refresh names the provisioner from which on layers are made again, as
	// CheckRefresh takes it; "" is none.
	Refresh string
	Log     *progress.Reporter
}

// layout is what is noted of a base image beside its tree.
type layout struct {
	Table diskimage.Table
	Boot  diskimage.FAT
	Root  diskimage.Ext4
}

// Build implements Engine.
func (e Engine) Build(ctx context.Context, job build.Job) error {
	layers, err := e.Provision(ctx, job)
	if err != nil {
		return err
	}
	return e.Pack(ctx, job, layers)
}

// Provision runs the recipe and returns the layers of the provisioned root file
// system, topmost first.
func (e Engine) Provision(ctx context.Context, job build.Job) ([]string, error) {
	if err := os.MkdirAll(job.LogDir, 0o755); err != nil {
		return nil, err
	}
	steps, err := plan(job)
	if err != nil {
		return nil, err
	}
	rebuildFrom, err := refreshFrom(job.Recipe.Provisioners, e.Refresh)
	if err != nil {
		return nil, err
	}
	store := e.Store
	if rebuildFrom == beforeAll {
		store = store.Rebuilding()
	}
	tree, err := e.Base(ctx, job)
	if err != nil {
		return nil, err
	}
	key, layers := baseKey(job.Base), []string{tree}
	for i, s := range steps {
		if i == rebuildFrom {
			store = store.Rebuilding()
		}
		title := fmt.Sprintf("provisioner %d of %d, %s", i+1, len(steps), s.Label())
		identity, err := layer.Identity(layers[0])
		if err != nil {
			return nil, err
		}
		key = s.key(key, identity)
		cached := true
		top, err := store.Layer(ctx, key, func(ctx context.Context, d layer.Draft) error {
			cached = false
			e.Log.Printf("%s", title)
			ctx, span := timing.Start(ctx, title)
			defer span.End()
			return errors.Join(d.Title(title), e.provision(ctx, job, s, d, layers, title))
		})
		if err != nil {
			return nil, fmt.Errorf("%s (%s): %w", title, s.Range, err)
		}
		if cached {
			e.Log.Printf("%s: cached", title)
		}
		layers = slices.Insert(layers, 0, top)
	}
	return layers, nil
}

// Base returns the layer that holds the files of the job's base image.
func (e Engine) Base(ctx context.Context, job build.Job) (string, error) {
	store := e.Store
	if e.Refresh == RefreshBase {
		store = store.Rebuilding()
	}
	tree, err := store.Layer(ctx, baseKey(job.Base), func(ctx context.Context, d layer.Draft) error {
		return errors.Join(d.Title("base image "+filepath.Base(job.Base.Path)), e.extract(ctx, job, d))
	})
	if err != nil {
		return "", fmt.Errorf("extracting the base image: %w", err)
	}
	// The layer may be of another recipe's build.
	base, err := readLayout(tree)
	if err != nil {
		return "", err
	}
	if err := build.CheckTable(job.Recipe, base.Table); err != nil {
		return "", fmt.Errorf("%s: %w", job.Base.Path, err)
	}
	return tree, nil
}

func (e Engine) extract(ctx context.Context, job build.Job, d layer.Draft) error {
	ctx, span := timing.Start(ctx, "extracting the base image")
	defer span.End()
	img := job.Base.Path
	if job.Base.Packed {
		img = filepath.Join(d.Scratch, "base.img")
		if err := unpack(ctx, job.Base.Path, img); err != nil {
			return err
		}
	}
	e.Log.Printf("extracting the file systems of %s", filepath.Base(job.Base.Path))
	l, err := extractImage(ctx, job.Recipe, img, d.Tree)
	if err != nil {
		return fmt.Errorf("%s: %w", job.Base.Path, err)
	}
	notes, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.Notes, "layout.json"), notes, 0o644)
}

// extractImage copies the files of an image's two file systems into tree, if
// they are the ones that the recipe describes.
func extractImage(ctx context.Context, r *recipe.Recipe, img, tree string) (layout, error) {
	table, err := diskimage.Read(ctx, img)
	if err != nil {
		return layout{}, err
	}
	if err := build.CheckTable(r, table); err != nil {
		return layout{}, err
	}
	boot, root, err := table.RaspberryPi()
	if err != nil {
		return layout{}, err
	}
	l := layout{Table: table}
	if l.Boot, err = diskimage.ReadFAT(ctx, img, boot); err != nil {
		return l, notDescribed(r.Source.Partitions[0], err)
	}
	if l.Root, err = diskimage.ReadExt4(ctx, img, root); err != nil {
		return l, notDescribed(r.Source.Partitions[1], err)
	}
	if err := l.Boot.CheckLabel(); err != nil {
		return l, err
	}
	return l, diskimage.Extract(ctx, img, boot, root, tree, chroot.BootDir)
}

// notDescribed adds to an error of reading a file system where the recipe says
// what it should be.
func notDescribed(p recipe.Partition, err error) error {
	return fmt.Errorf("%s says that it is %s: %w", p.At("filesystem"), p.Filesystem, err)
}

// unpack decompresses an xz archive; xz leaves holes where its output is zero.
func unpack(ctx context.Context, from, to string) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	err = process.Cmd{Argv: []string{"xz", "--decompress", "--stdout", "--threads=0", from}, Stdout: f}.Run(ctx)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("unpacking %s: %w", from, err)
	}
	return nil
}

func readLayout(tree string) (layout, error) {
	var l layout
	raw, err := os.ReadFile(filepath.Join(layer.Notes(tree), "layout.json"))
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(raw, &l)
}

func (e Engine) provision(ctx context.Context, job build.Job, s step, d layer.Draft, layers []string, title string) (err error) {
	log, err := os.Create(filepath.Join(job.LogDir, s.logName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	task := e.Log.Task(title, 0)
	defer task.End()
	files, err := chroot.CommonFiles()
	if err != nil {
		return err
	}
	native := e.Native
	if s.Type == recipe.Shell {
		kept, err := e.Archives.Files()
		if err != nil {
			return err
		}
		files = append(files, kept...)
	} else {
		native = nil
	}
	steps := slices.Clone(s.runs)
	for i := range steps {
		steps[i].Env = environment(job)
		steps[i].Files = slices.Concat(files, steps[i].Files)
		steps[i].Hostname = hostname
		steps[i].Output = process.Tee(output{log, task})
	}
	err = chroot.Provision(ctx, d, layers, native, steps, e.Log)
	// Also after a failure: the next attempt needs the same packages.
	if keepErr := e.keepArchives(d.Tree, layers); keepErr != nil {
		return errors.Join(err, keepErr)
	}
	if err != nil && ctx.Err() == nil {
		return &ProvisionError{s.Label(), log.Name(), job.Again, err}
	}
	return err
}

func (e Engine) keepArchives(tree string, layers []string) error {
	if err := e.Archives.Collect(append([]string{tree}, layers...)...); err != nil {
		return err
	}
	return debian.ClearArchives(tree)
}

// ProvisionError is a provisioner that failed.
type ProvisionError struct {
	Label string
	Log   string // file with all it printed
	Again string // command
	Err   error
}

func (e *ProvisionError) Error() string {
	reason := e.Err.Error()
	if p := new(process.Error); errors.As(e.Err, &p) {
		// The command line is ours, not the user's: what it printed is what counts.
		reason = fmt.Sprintf("%v; its last lines:\n%s", p.Err, lastLines(p.Output, 25))
	}
	return fmt.Sprintf("the provisioner %s failed: %s\nall it printed is in %s\nonce it is fixed, this goes on from here: %s", e.Label, reason, e.Log, e.Again)
}

func (e *ProvisionError) Unwrap() error { return e.Err }

// output shows a provisioner's last line and keeps all of them.
type output struct {
	log  *os.File
	task *progress.Task
}

func (o output) Write(p []byte) (int, error) {
	o.task.Note(string(p))
	return o.log.Write(p)
}

// Pack writes the job's image from the layers that Provision returned.
func (e Engine) Pack(ctx context.Context, job build.Job, layers []string) error {
	base, err := readLayout(layers[len(layers)-1])
	if err != nil {
		return err
	}
	return pack(ctx, job, base, layers, e.Log)
}

func pack(ctx context.Context, job build.Job, base layout, layers []string, log *progress.Reporter) error {
	boot, _, err := base.Table.RaspberryPi()
	if err != nil {
		return err
	}
	log.Printf("packing the image")
	ctx, span := timing.Start(ctx, "packing the image")
	defer span.End()
	view, err := chroot.NewView(layers, job.Image+".view")
	if err != nil {
		return err
	}
	partial := job.Image + ".partial"
	err = diskimage.Pack(ctx, diskimage.Layout{
		ID:        base.Table.ID,
		BootStart: boot.Start,
		BootSize:  boot.Size,
		BootType:  boot.Type,
		Boot:      base.Boot,
		Root:      base.Root,
		Headroom:  job.Headroom,
		Time:      job.Time,
	}, view, partial)
	if err := errors.Join(err, view.Close()); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Rename(partial, job.Image); err != nil {
		return err
	}
	if info, err := os.Stat(job.Image); err == nil {
		log.Printf("%s: %s", job.Image, units.HumanSize(float64(info.Size())))
	}
	return nil
}
