//go:build integration

package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
)

const inside = "CUBEOS_TEST_FULL_DISK"

// TestFinishOnAFullDisk runs itself again in mount and user namespaces of its
// own, where it may mount a disk that is too small.
func TestFinishOnAFullDisk(t *testing.T) {
	if dir := os.Getenv(inside); dir != "" {
		finishOnAFullDisk(t, dir)
		return
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ran on a full disk") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func finishOnAFullDisk(t *testing.T, dir string) {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	o := options(t, sparseImage(t, 64*mib, span(0, 32*mib)))
	o.Dir = dir
	_, err := Finish(t.Context(), o)
	for _, want := range []string{o.Names.In(dir).XZ, "no space left on device", "up to 67.11MB"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if left := listing(t, dir); len(left) > 0 {
		t.Errorf("left %s", left)
	}
	fmt.Println("ran on a full disk")
}

func fileSum(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func run(t testing.TB, dir string, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

func TestFinishRoundTrip(t *testing.T) {
	const size = 256*mib + 512
	raw := sparseImage(t, size, span(0, 440), span(5*mib+4000, 9*mib+1), span(200*mib, 200*mib+5000), span(size-512, size))
	o := options(t, raw)
	// An earlier run's files are replaced.
	if err := os.WriteFile(o.Names.In(o.Dir).XZ, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	result, err := Finish(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	paths := o.Names.In(o.Dir)
	if diff := cmp.Diff([]string{o.Names.BlockMap, o.Names.XZ, o.Names.Checksum}, listing(t, o.Dir)); diff != "" {
		t.Error(diff)
	}
	want := Result{
		Raw:      File{o.Names.Image, size, fileSum(t, raw)},
		XZ:       File{o.Names.XZ, fileSize(t, paths.XZ), fileSum(t, paths.XZ)},
		BlockMap: File{o.Names.BlockMap, fileSize(t, paths.BlockMap), fileSum(t, paths.BlockMap)},
	}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Error(diff)
	}
	t.Run("sha256sum reads the checksum", func(t *testing.T) {
		run(t, o.Dir, "sha256sum", "--strict", "-c", o.Names.Checksum)
	})
	t.Run("xz restores the image", func(t *testing.T) {
		run(t, o.Dir, "sh", "-c", `xz -dc "$1" | cmp - "$2"`, "sh", o.Names.XZ, raw)
	})
	t.Run("bmaptool writes the image", func(t *testing.T) {
		card := filepath.Join(t.TempDir(), "card")
		run(t, o.Dir, "bmaptool", "copy", "--bmap", o.Names.BlockMap, o.Names.XZ, card)
		if got := fileSum(t, card); got != result.Raw.SHA256 {
			t.Error("the card does not hold the image")
		}
	})
	t.Run("bmaptool notices a changed image", func(t *testing.T) {
		changed := sparseImage(t, size, span(0, 440), span(6*mib, 6*mib+1))
		cmd := exec.Command("bmaptool", "copy", "--bmap", paths.BlockMap, changed, filepath.Join(t.TempDir(), "card"))
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "checksum mismatch") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("the same image gives the same files", func(t *testing.T) {
		o := o
		o.Dir = t.TempDir()
		again, err := Finish(t.Context(), o)
		if diff := cmp.Diff(result, again); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A card is not empty: what has to be zero must be written where it was not.
func TestBlockMapKeepsZerosThatMatter(t *testing.T) {
	raw := sparseImage(t, 4*mib, span(0, 512))
	o := options(t, raw)
	o.Zeros = []diskimage.Range{span(mib, mib+8192)}
	if _, err := Finish(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	blockMap, err := os.ReadFile(o.Names.In(o.Dir).BlockMap)
	if err != nil {
		t.Fatal(err)
	}
	ranges := regexp.MustCompile(`> ([0-9-]+) </Range>`).FindAllStringSubmatch(string(blockMap), -1)
	if diff := cmp.Diff([][]string{{"> 0 </Range>", "0"}, {"> 256-257 </Range>", "256-257"}}, ranges); diff != "" {
		t.Error(diff)
	}
}

// whenCompressing calls f once a part of the image has been read and compressed.
func whenCompressing(t *testing.T, o FinishOptions, f func()) {
	ctx := t.Context()
	go func() {
		for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
			if info, err := os.Stat(o.Names.In(o.Dir).XZ + ".partial"); err == nil && info.Size() > 0 {
				f()
				return
			}
		}
	}()
}

func TestFinishCancelled(t *testing.T) {
	raw := sparseImage(t, 64*mib, span(0, 64*mib))
	o := options(t, raw)
	if err := os.WriteFile(o.Names.In(o.Dir).XZ, []byte("an earlier run's"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	whenCompressing(t, o, func() { cancel(errors.New("stopped by hand")) })
	if _, err := Finish(ctx, o); err == nil || !strings.Contains(err.Error(), "stopped by hand") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{o.Names.XZ}, listing(t, o.Dir)); diff != "" {
		t.Error(diff)
	}
}

// A file that shrinks while it is read stands for a failing disk.
func TestFinishReadError(t *testing.T) {
	raw := sparseImage(t, 64*mib, span(0, 64*mib))
	o := options(t, raw)
	whenCompressing(t, o, func() { _ = os.Truncate(raw, mib) })
	if _, err := Finish(t.Context(), o); err == nil || !strings.Contains(err.Error(), "reading the raw image at byte") {
		t.Errorf("got %v", err)
	}
	if left := listing(t, o.Dir); len(left) > 0 {
		t.Errorf("left %s", left)
	}
}

func TestFinishNeedsLittleMemory(t *testing.T) {
	raw := sparseImage(t, 256*mib, span(0, 4*mib), span(100*mib, 110*mib))
	o := options(t, raw)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Finish(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8*mib {
		t.Errorf("allocated %d bytes for an image of 256 MiB", allocated)
	}
}
