//go:build integration

package diskimage

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// dirs is a Source of plain directories.
type dirs struct{ root, boot string }

func (d dirs) Argv(argv ...string) []string { return argv }
func (d dirs) RootDir() string              { return d.root }
func (d dirs) BootDir() string              { return d.boot }

func testLayout() Layout {
	return Layout{
		ID: 0xdeadbeef, BootStart: 8 << 20, BootSize: 64 << 20, BootType: "c",
		Boot: FAT{"bootfs", 0x1234abcd, 1},
		Root: Ext4{
			Label: "rootfs", UUID: "0f0e0d0c-0b0a-4908-8706-050403020100", InodeSize: "256",
			HashSeed: "00010203-0405-4607-8809-0a0b0c0d0e0f",
			Features: []string{"has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "flex_bg", "sparse_super", "large_file", "dir_nlink", "extra_isize", "metadata_csum"},
		},
		Headroom: 32 << 20,
		Time:     time.Unix(1700000000, 0),
	}
}

func TestPackThenExtractGivesTheSameFiles(t *testing.T) {
	ctx, tmp := t.Context(), t.TempDir()
	src := dirs{filepath.Join(tmp, "root"), filepath.Join(tmp, "boot")}
	must(t, process.Run(ctx, "sh", "-euc", `
mkdir -p "$1/etc/deep" "$1/boot/firmware" "$2/overlays"
echo hello >"$1/etc/deep/file"; ln "$1/etc/deep/file" "$1/etc/link"; ln -s deep/file "$1/etc/symlink"
chown 123:456 "$1/etc/link"; chmod 4750 "$1/etc/link"; touch -d @1000000000 "$1/etc/link"
truncate -s 50M "$1/sparse"; head -c 3000000 /dev/urandom >"$1/random"; mkfifo "$1/fifo"
echo kernel >"$2/a name that is long and has spaces.IMG"; echo dtbo >"$2/overlays/x.dtbo"`, "sh", src.root, src.boot))
	must(t, unix.Setxattr(filepath.Join(src.root, "random"), "user.note", []byte("kept"), 0))

	layout := testLayout()
	img := filepath.Join(tmp, "x.img")
	must(t, Pack(ctx, layout, src, img))

	table, err := Read(ctx, img)
	must(t, err)
	boot, root, err := table.RaspberryPi()
	must(t, err)
	if want := (Partition{8 << 20, 64 << 20, "c"}); boot != want || table.ID != layout.ID || root.Start != 72<<20 {
		t.Errorf("partition table %+v", table)
	}
	fat, err := ReadFAT(ctx, img, boot)
	must(t, err)
	if fat != layout.Boot {
		t.Errorf("boot file system %+v, want %+v", fat, layout.Boot)
	}
	ext4, err := ReadExt4(ctx, img, root)
	must(t, err)
	if diff := cmp.Diff(layout.Root, ext4); diff != "" {
		t.Error(diff)
	}
	free, err := freeBytes(ctx, img, root)
	must(t, err)
	if free < layout.Headroom || free > layout.Headroom+8*eraseSize {
		t.Errorf("%d bytes free, want little more than %d", free, layout.Headroom)
	}

	tree := filepath.Join(tmp, "out")
	must(t, os.Mkdir(tree, 0o755))
	must(t, Extract(ctx, img, boot, root, tree, "boot/firmware"))
	must(t, process.Run(ctx, "cp", "-r", src.boot+"/.", filepath.Join(src.root, "boot/firmware")))
	must(t, os.Remove(filepath.Join(tree, "lost+found")))
	for _, dir := range []string{tree, src.root} {
		must(t, process.Run(ctx, "chmod", "-R", "755", filepath.Join(dir, "boot/firmware")))
	}
	if want, got := describe(t, ctx, src.root), describe(t, ctx, tree); want != got {
		t.Error(cmp.Diff(want, got))
	}
	note := make([]byte, 16)
	if n, err := unix.Getxattr(filepath.Join(tree, "random"), "user.note", note); err != nil || string(note[:n]) != "kept" {
		t.Errorf("the extended attribute was lost: %v", err)
	}

	again := filepath.Join(tmp, "again.img")
	must(t, os.Remove(filepath.Join(src.root, "boot/firmware/overlays/x.dtbo")))
	must(t, process.Run(ctx, "sh", "-euc", `rm -r "$1"/boot/firmware/*`, "sh", src.root))
	must(t, Pack(ctx, layout, src, again))
	second, err := Read(ctx, again)
	must(t, err)
	if diff := cmp.Diff(table, second); diff != "" {
		t.Errorf("packed again, the layout differs: %s", diff)
	}
}

func TestLabelsAreKeptByteForByte(t *testing.T) {
	ctx, tmp := t.Context(), t.TempDir()
	src := dirs{filepath.Join(tmp, "root"), filepath.Join(tmp, "boot")}
	must(t, os.Mkdir(src.root, 0o755))
	must(t, os.Mkdir(src.boot, 0o755))
	t.Setenv("LC_ALL", "tr_TR.UTF-8")
	for boot, root := range map[string]string{
		"MY BOOT": "MY ROOT", "P&I (1)": `ro"o't $X\ (1)`, "ibm i'~`!@#$": "Kök ", "": "", "NONE": "<none>",
	} {
		layout := testLayout()
		layout.Boot.Label, layout.Root.Label = boot[:min(len(boot), 11)], root
		img := filepath.Join(tmp, "x.img")
		must(t, Pack(ctx, layout, src, img))
		table, err := Read(ctx, img)
		must(t, err)
		bootPart, rootPart, err := table.RaspberryPi()
		must(t, err)
		fat, err := ReadFAT(ctx, img, bootPart)
		must(t, err)
		ext4, err := ReadExt4(ctx, img, rootPart)
		must(t, err)
		if fat != layout.Boot || ext4.Label != root || fat.CheckLabel() != nil {
			t.Errorf("packed %q and %q, read %q and %q, %v", layout.Boot.Label, root, fat.Label, ext4.Label, fat.CheckLabel())
		}
		again := filepath.Join(tmp, "again.img")
		layout.Boot, layout.Root = fat, ext4
		must(t, Pack(ctx, layout, src, again))
		must(t, process.Run(ctx, "cmp", img, again))
	}
}

// describe lists type, mode, owner, links, size, target and contents of everything in dir.
func describe(t *testing.T, ctx context.Context, dir string) string {
	t.Helper()
	out, err := process.Output(ctx, "sh", "-euc", `cd "$1"
find . ! -path './boot/firmware*' -printf '%p %y %m %U:%G %n %l\n' | sort
find ./boot/firmware -printf '%p %y %m\n' | sort
find . -type f -printf '%s ' -exec sha256sum {} \; | sort -k3`, "sh", dir)
	must(t, err)
	return out
}

func TestReadRefusesWhatIsNoImage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.img")
	must(t, os.WriteFile(file, make([]byte, 1<<20), 0o644))
	if _, err := Read(t.Context(), file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOccupiedLeavesOutOnlyFreeBlocks(t *testing.T) {
	ctx, tmp := t.Context(), t.TempDir()
	src := dirs{filepath.Join(tmp, "root"), filepath.Join(tmp, "boot")}
	must(t, process.Run(ctx, "sh", "-euc", `mkdir -p "$1/d" "$2"; head -c 20000000 /dev/urandom >"$1/d/random"; echo a >"$2/file"`, "sh", src.root, src.boot))
	img := filepath.Join(tmp, "x.img")
	must(t, Pack(ctx, testLayout(), src, img))
	info, err := os.Stat(img)
	must(t, err)
	occupied, err := Occupied(ctx, img, info.Size())
	must(t, err)

	// A card full of other data, of which only the occupied parts are written.
	card := filepath.Join(tmp, "card")
	must(t, process.Run(ctx, "sh", "-euc", `head -c "$1" /dev/zero | tr '\0' '\252' >"$2"`, "sh", fmt.Sprint(info.Size()), card))
	from, err := os.Open(img)
	must(t, err)
	defer from.Close()
	to, err := os.OpenFile(card, os.O_WRONLY, 0)
	must(t, err)
	written := int64(0)
	for _, r := range occupied {
		n, err := io.Copy(io.NewOffsetWriter(to, r.Start), io.NewSectionReader(from, r.Start, r.End-r.Start))
		must(t, err)
		written += n
	}
	must(t, to.Close())
	if written >= info.Size()-16<<20 {
		t.Errorf("%d of %d bytes are occupied, want the headroom left out", written, info.Size())
	}
	table, err := Read(ctx, card)
	must(t, err)
	boot, root, err := table.RaspberryPi()
	must(t, err)
	must(t, check(ctx, card, root))
	out := filepath.Join(tmp, "out")
	must(t, os.Mkdir(out, 0o755))
	must(t, os.Mkdir(filepath.Join(out, "boot"), 0o755))
	must(t, Extract(ctx, card, boot, root, out, "boot/firmware"))
	must(t, process.Run(ctx, "cmp", filepath.Join(src.root, "d/random"), filepath.Join(out, "d/random")))
	must(t, process.Run(ctx, "fsck.vfat", "-n", "-v", func() string {
		fat := filepath.Join(tmp, "fat")
		must(t, process.Run(ctx, "dd", "if="+card, "of="+fat, "bs=1M", "skip=8", "count=64", "status=none"))
		return fat
	}()))
}
