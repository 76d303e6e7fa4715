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
	dir := t.TempDir()
	names := artifact.NamesFor(map[string]string{"pios": "cubeos", "lab": "cubeos-lab"}[profile], version)
	return &Build{Options: Options{Profile: profile, Version: version}, Dir: dir, values: values{names: names}, Names: names.In(dir)}
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
		if err := os.WriteFile(filepath.Join(b.Dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.dropSuperseded(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(b.Dir)
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

func TestWhatIsNotPublishable(t *testing.T) {
	b := newBuild(t, "lab", "1.2.3")
	b.Revision.Dirty = true
	err := b.Publishable()
	for _, want := range []string{"lab are never released", "not committed", "is no git checkout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	b.Revision.Dirty, b.Revision.Commit, b.values.publishable = false, strings.Repeat("ab", 20), true
	if err := b.Publishable(); err != nil {
		t.Error(err)
	}
}
