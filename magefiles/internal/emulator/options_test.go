package emulator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/emulator/media"
)

func TestOptionsReportEverythingAtOnce(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Options{Artifact: media.Artifact{XZPath: "missing.img.xz", RawSHA256: "PLACEHOLDER", RawSize: 1000}, DiskSize: 512}.withDefaults()
	if err == nil {
		t.Fatal("nothing was wrong")
	}
	for _, want := range []string{"missing.img.xz", "PLACEHOLDER", "multiple of 512", "the image has 1000", "no directory", "qemu-system-aarch64", "mcopy", "mage prereqs"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
}

func TestDiskSize(t *testing.T) {
	for raw, want := range map[int64]int64{1 << 30: 5 << 30, 1<<30 + 512: 6 << 30, 3<<30 - 512: 7 << 30} {
		o, _ := Options{Artifact: media.Artifact{RawSize: raw}}.withDefaults()
		if o.DiskSize != want {
			t.Errorf("an image of %d bytes gets a disk of %d, want %d", raw, o.DiskSize, want)
		}
	}
}

func TestLockAndSweep(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); err == nil || !strings.Contains(err.Error(), "another boot proof") {
		t.Errorf("a second proof got %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if unlock, err = lock(dir); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unlock() }()

	stale := []string{"machines/proof/device.qcow2", "console.log", "journal.txt", "report.json"}
	for _, name := range append(stale, "raw/abc.img") {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(dir, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range stale {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "raw/abc.img")); err != nil {
		t.Errorf("the unpacked image is gone: %v", err)
	}
}
