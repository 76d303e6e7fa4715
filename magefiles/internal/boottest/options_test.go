package boottest

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
)

func TestOptionsReportEverythingAtOnce(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Options{Artifact: card.Artifact{XZPath: "missing.img.xz", RawSHA256: "PLACEHOLDER", RawSize: 1000}, Scenarios: []Scenario{{Name: "small", Device: Device{CardSize: 512}}}}.withDefaults()
	if err == nil {
		t.Fatal("nothing was wrong")
	}
	for _, want := range []string{"missing.img.xz", "PLACEHOLDER", "multiple of 512", "the image has 1000", "no directory", "qemu-system-aarch64", "mcopy", "mage prereqs"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
}

func TestCardSize(t *testing.T) {
	for _, tt := range []struct {
		raw, asked, want int64
	}{
		{1 << 30, 0, 5 << 30},
		{1<<30 + 512, 0, 6 << 30},
		{3<<30 - 512, 0, 7 << 30},
		{3<<30 - 512, OwnSize, 3<<30 - 512},
		{1 << 30, 64 << 30, 64 << 30},
	} {
		if got := cardSize(Device{CardSize: tt.asked}, tt.raw); got != tt.want {
			t.Errorf("an image of %d bytes gets a card of %d (%d asked), want %d", tt.raw, got, tt.asked, tt.want)
		}
	}
}

func TestJobsFitTheMachine(t *testing.T) {
	if got := jobs(1<<20, 64); got != 1 {
		t.Errorf("%d machines with a million processors each, want 1", got)
	}
	if got := jobs(1, 1<<30); got != 1 {
		t.Errorf("%d machines with a PiB of memory each, want 1", got)
	}
	if got := jobs(1, 1); got < 1 || got > runtime.NumCPU() {
		t.Errorf("%d machines with one processor each on %d", got, runtime.NumCPU())
	}
}

func TestLockAndSweep(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockWorkDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockWorkDir(dir); err == nil || !strings.Contains(err.Error(), "another boot proof") {
		t.Errorf("a second proof got %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if unlock, err = lockWorkDir(dir); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unlock() }()

	stale := []string{"machines/proof/device.qcow2", "operational/console.log", "console.log", "report.json"}
	for _, name := range append(stale, "raw/abc.img", "snapshots/running/memory") {
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
	for _, kept := range []string{"raw/abc.img", "snapshots/running/memory"} {
		if _, err := os.Stat(filepath.Join(dir, kept)); err != nil {
			t.Errorf("%s is gone: %v", kept, err)
		}
	}
}
