package testkernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// wanted are the modules without which the card's root file system is not to be
// mounted. Those that are built into the kernel need nothing.
func wanted() []string { return []string{"virtio_pci", "virtio_blk", "ext4", "overlay"} }

// assemble makes the files of a kernel from an extracted Debian.
func assemble(ctx context.Context, from string, d layer.Draft) error {
	k, err := describe(from)
	if err != nil {
		return err
	}
	if err := run(ctx, "depmod", "--basedir", filepath.Join(from, "usr"), k.Release); err != nil {
		return fmt.Errorf("finding out which modules need which: %w", err)
	}
	raw, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	image := filepath.Join(d.Tree, imageFile)
	return errors.Join(
		os.WriteFile(filepath.Join(d.Notes, notesFile), raw, 0o644),
		copyFile(filepath.Join(from, "boot", "vmlinuz-"+k.Release), image),
		card.MakeLoadable(image),
		makeInitrd(ctx, from, k.Release, d),
		makeModules(ctx, from, filepath.Join(d.Tree, modulesFile)),
	)
}

// describe says which kernel was extracted.
func describe(from string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(from, "boot", "vmlinuz-*"))
	if err == nil && len(images) != 1 {
		err = fmt.Errorf("found %d kernels, want one", len(images))
	}
	if err != nil {
		return Kernel{}, err
	}
	k := Kernel{Release: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")}
	packages, err := filepath.Glob(filepath.Join(from, debian.ArchivesDir, "linux-image-"+k.Release+"_*.deb"))
	if err == nil && len(packages) != 1 {
		err = fmt.Errorf("found %d packages of the kernel %s, want one", len(packages), k.Release)
	}
	if err != nil {
		return Kernel{}, err
	}
	k.Package = filepath.Base(packages[0])
	k.SHA256, err = stage.FileDigest(packages[0])
	return k, err
}

// makeInitrd writes the initramfs: busybox, the modules and the script.
func makeInitrd(ctx context.Context, from, release string, d layer.Draft) error {
	dir := filepath.Join(d.Scratch, "initrd")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "bin"), 0o755), os.MkdirAll(filepath.Join(dir, "lib"), 0o755)); err != nil {
		return err
	}
	modules := filepath.Join(from, "usr/lib/modules", release)
	order, err := inOrder(modules, wanted())
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, path := range order {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		fmt.Fprintf(&list, "%s.ko\n", name)
		if err := decompress(ctx, filepath.Join(modules, path), filepath.Join(dir, "lib", name+".ko")); err != nil {
			return err
		}
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "lib/order"), []byte(list.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "init"), initScript, 0o755),
		copyFile(filepath.Join(from, "usr/bin/busybox"), filepath.Join(dir, "bin/busybox")),
		os.Chmod(filepath.Join(dir, "bin/busybox"), 0o755),
	)
	if err != nil {
		return err
	}
	return run(ctx, "sh", "-euc", `cd "$1" && find . | cpio --create --format=newc --owner=0:0 --quiet >"$2"`, "sh", dir, filepath.Join(d.Tree, initrdFile))
}

// inOrder lists the files of modules and of all that they need, in the order in
// which they load. What is built into the kernel is left out.
func inOrder(dir string, names []string) ([]string, error) {
	dependencies, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtIn, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	paths, needs := map[string]string{}, map[string][]string{}
	for line := range strings.Lines(string(dependencies)) {
		path, list, _ := strings.Cut(strings.TrimSpace(line), ":")
		paths[moduleName(path)], needs[path] = path, strings.Fields(list)
	}
	compiled := map[string]bool{}
	for path := range strings.Lines(string(builtIn)) {
		compiled[moduleName(strings.TrimSpace(path))] = true
	}
	var order []string
	add := func(path string) {
		if !slices.Contains(order, path) {
			order = append(order, path)
		}
	}
	for _, name := range names {
		path, ok := paths[name]
		switch {
		case ok:
			for _, need := range slices.Backward(needs[path]) { // the innermost is the last
				add(need)
			}
			add(path)
		case !compiled[name]:
			return nil, fmt.Errorf("the kernel has no module %s", name)
		}
	}
	return order, nil
}

// moduleName is what modprobe calls the module in a file.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return strings.ReplaceAll(name, "-", "_")
}

func decompress(ctx context.Context, path, to string) (err error) {
	if filepath.Ext(path) == ".ko" {
		return copyFile(path, to)
	}
	if filepath.Ext(path) != ".xz" {
		return fmt.Errorf("%s is compressed in a way that is not understood here", path)
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return process.Cmd{Argv: []string{"xz", "--decompress", "--stdout", path}, Stdout: out}.Run(ctx)
}

// makeModules writes the file system with the modules.
func makeModules(ctx context.Context, from, to string) error {
	dir := filepath.Join(from, "usr/lib/modules")
	size := int64(16 << 20) // for the file system itself
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += (info.Size() + blockSize) / blockSize * blockSize
		}
		return err
	})
	if err != nil {
		return err
	}
	return run(ctx, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-b", fmt.Sprint(blockSize), "-m", "0", "-d", dir, to, fmt.Sprint(size>>10)+"k")
}

const blockSize = 4096

func run(ctx context.Context, argv ...string) error { return process.Cmd{Argv: argv}.Run(ctx) }

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
