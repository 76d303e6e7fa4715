package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

func newBuild(t *testing.T, profile, version string) *Build {
	t.Helper()
	names, err := artifact.NamesFor(profile, version)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &Build{Options: Options{Profile: profile, Version: version}, dir: dir, names: names.In(dir)}
}

func TestOnlySupersededDevelopmentBuildsAreDropped(t *testing.T) {
	kept := []string{
		"cubeos-0.0.0-dev+gbbbbbbbbbbbb-arm64.img",       // the one being built
		"cubeos-1.2.3-arm64.img.xz",                      // a release
		"cubeos-lab-0.0.0-dev+gaaaaaaaaaaaa-arm64.img",   // another profile
		"cubeos-lab-1.2.4-dev.3+gaaaaaaaaaaaa-arm64.img", // likewise
	}
	dropped := []string{
		"cubeos-0.0.0-dev+gaaaaaaaaaaaa-arm64.img.xz",
		"cubeos-1.2.4-dev.3+gaaaaaaaaaaaa.dirty-arm64.manifest.json",
	}
	b := newBuild(t, "pios", "0.0.0-dev+gbbbbbbbbbbbb")
	for _, name := range append(kept, dropped...) {
		if err := os.WriteFile(filepath.Join(b.dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.dropSuperseded(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if diff := cmp.Diff(kept, left); diff != "" {
		t.Error(diff)
	}
}

func TestReleaseRefusesBeforeAnyWork(t *testing.T) {
	b := newBuild(t, "lab", "1.2.3")
	b.Dirty = true
	err := b.Release(t.Context())
	for _, want := range []string{"lab are never released", "not committed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestSweepRemovesOnlyHalfMadeFiles(t *testing.T) {
	b := newBuild(t, "pios", "1.2.3")
	for _, name := range []string{"x.img", "x.img.partial", "x.img.view/root/file"} {
		path := filepath.Join(b.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.sweep(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "x.img" {
		t.Errorf("left %v, %v", entries, err)
	}
}
