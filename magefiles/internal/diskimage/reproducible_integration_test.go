//go:build integration

package diskimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

const epoch = 1_700_000_000

// makeTree fills dir with all kinds of files, changed before and after the
// epoch. Directories of the second variant list their entries in another order.
func makeTree(t *testing.T, ctx context.Context, dir string, variant int) dirs {
	t.Helper()
	src := dirs{filepath.Join(dir, "root"), filepath.Join(dir, "boot")}
	must(t, process.Run(ctx, "sh", "-euc", `
mkdir -p "$1/old" "$1/new" "$2/overlays"
seq=$(seq 1 60); [ "$3" = 1 ] || seq=$(seq 60 -1 1)
for i in $seq; do echo "$i" >"$1/new/file-$i"; echo "$i" >"$2/overlays/a-long-name-$i.dtbo"; done
[ "$3" = 1 ] || { echo gone >"$1/old/gone"; rm "$1/old/gone"; }
echo hello >"$1/old/file"; ln "$1/old/file" "$1/old/link"; ln -s file "$1/old/short"
ln -s "$(printf 'x/%.0s' $(seq 100))" "$1/old/long"; mkfifo "$1/old/fifo"; mknod "$1/old/null" c 1 3
head -c 300000 /dev/zero | tr '\0' x >"$1/old/large"; truncate -s 9M "$1/old/sparse"
touch -d @2208988800 "$1/new/after-2038"
touch -hd @1600000001.123456789 "$1/old/"* "$2/overlays/a-long-name-7.dtbo"
touch -d @1600000000 "$1/old"
touch -d @1700000001 "$1/new/file-1"`, "sh", src.root, src.boot, fmt.Sprint(variant)))
	must(t, unix.Setxattr(filepath.Join(src.root, "old/file"), "user.note", []byte("kept"), 0))
	must(t, process.Run(ctx, "find", dir, "-type", "f", "-exec", "cat", "{}", "+")) // access times
	return src
}

func variants() map[string]Ext4 {
	with := func(inodeSize string, add ...string) Ext4 {
		root := testLayout().Root
		root.InodeSize = inodeSize
		root.Features = slices.Clone(root.Features)
		for _, f := range add {
			if off, ok := strings.CutPrefix(f, "^"); ok {
				root.Features = slices.DeleteFunc(root.Features, func(f string) bool { return f == off })
			} else {
				root.Features = append(root.Features, f)
			}
		}
		return root
	}
	return map[string]Ext4{
		"as Raspberry Pi OS":  with("256"),
		"64bit":               with("256", "64bit"),
		"no checksums":        with("256", "^metadata_csum"),
		"64bit, no checksums": with("256", "64bit", "^metadata_csum"),
		"uninit_bg":           with("256", "^metadata_csum", "uninit_bg"),
		"checksum seed":       with("256", "64bit", "metadata_csum_seed"),
		"small inodes":        with("128", "^extra_isize"),
		"small, 64bit":        with("128", "^extra_isize", "64bit", "^metadata_csum"),
		"large inodes":        with("512"),
		"no flex_bg":          with("256", "^flex_bg"),
	}
}

func TestPackedTimes(t *testing.T) {
	ctx, tmp := t.Context(), t.TempDir()
	src := makeTree(t, ctx, tmp, 1)
	for name, root := range variants() {
		t.Run(name, func(t *testing.T) {
			layout := testLayout()
			layout.Root = root
			img := filepath.Join(t.TempDir(), "x.img")
			must(t, Pack(ctx, layout, src, img)) // which checks the file system
			table, err := Read(ctx, img)
			must(t, err)
			_, part, err := table.RaspberryPi()
			must(t, err)
			out, err := process.Output(ctx, "unshare", "--mount", "--propagation", "private", "--", "sh", "-euc",
				`mount -t ext4 -o "ro,noload,noatime,loop,offset=$2,sizelimit=$3" "$1" /mnt
find /mnt -printf '%A@ %C@ %T@ ' -exec stat -c '%W %n' {} \;`, "sh", img, fmt.Sprint(part.Start), fmt.Sprint(part.Size))
			must(t, err)
			seen := 0
			for line := range strings.Lines(out) {
				f := strings.Fields(line)
				want := int64(epoch)
				if rel := strings.TrimPrefix(f[4], "/mnt"); rel == "/old" {
					want = 1_600_000_000
				} else if strings.HasPrefix(rel, "/old/") {
					want = 1_600_000_001
				}
				for i, got := range f[:4] {
					if i == 3 && root.InodeSize == "128" {
						continue // no room for a time of birth
					}
					if whole, part, _ := strings.Cut(got, "."); whole != fmt.Sprint(want) || strings.Trim(part, "0") != "" {
						t.Errorf("%s: time %d of 4 is %s, want %d", f[4], i+1, got, want)
					}
				}
				seen++
			}
			if seen < 60 {
				t.Errorf("saw only %d files", seen)
			}
		})
	}
}

// awaitFATTime waits until the clock shows another time than now to FAT, which
// counts in steps of two seconds.
func awaitFATTime() {
	const step = 2 * time.Second
	for now := time.Now().Truncate(step); !time.Now().Truncate(step).After(now); {
		time.Sleep(20 * time.Millisecond)
	}
}

func TestPackDependsOnlyOnWhatIsPacked(t *testing.T) {
	ctx, tmp := t.Context(), t.TempDir()
	var digests []string
	var images []string
	for variant := 1; variant <= 2; variant++ {
		dir := filepath.Join(tmp, fmt.Sprint(variant))
		must(t, os.Mkdir(dir, 0o755))
		src := makeTree(t, ctx, dir, variant)
		img := filepath.Join(dir, "x.img")
		if variant == 2 { // another machine, later
			awaitFATTime()
			config := filepath.Join(dir, "mke2fs.conf")
			must(t, os.WriteFile(config, []byte("[defaults]\n\treserved_ratio = 20\n\tdefault_mntopts = \n[fs_types]\n\text4 = {\n\t}\n"), 0o644))
			t.Setenv("MKE2FS_CONFIG", config)
			t.Setenv("TZ", "Pacific/Auckland")
			t.Setenv("SOURCE_DATE_EPOCH", "1")
		}
		must(t, Pack(ctx, testLayout(), src, img))
		sum, err := stage.FileDigest(img)
		must(t, err)
		digests, images = append(digests, sum), append(images, img)
	}
	if digests[0] != digests[1] {
		_, err := process.Output(ctx, "cmp", images[0], images[1])
		t.Errorf("the same files packed later, listed in another order: %v", err)
	}
	out, err := process.Output(ctx, "env", "TZ=UTC", "MTOOLSRC=/dev/null", "mdir", "-i", images[0]+"@@8M", "::overlays")
	must(t, err)
	var dates []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "-long-name-7.") || strings.Contains(line, "-long-name-8.") || strings.HasPrefix(line, ". ") {
			f := strings.Fields(line)
			dates = append(dates, strings.Join(f[len(f)-3:], " "))
		}
	}
	want := []string{"<DIR> 2023-11-14 22:13", "2020-09-13 12:26 a-long-name-7.dtbo", "2023-11-14 22:13 a-long-name-8.dtbo"}
	if diff := cmp.Diff(want, dates); diff != "" {
		t.Error(diff)
	}
}
