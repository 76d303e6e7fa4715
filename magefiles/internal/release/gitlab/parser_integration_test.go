//go:build integration

package gitlab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// TestPipelineStartsTheJobsItHasTo fetches the parser that the repository pins.
func TestPipelineStartsTheJobsItHasTo(t *testing.T) {
	const root = "../../../.."
	dir := t.TempDir()
	parser, err := OpenParser(t.Context(), root, dir, filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, pipelineFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ old, new, want string }{
		"as it is":              {},
		"a reserved name":       {"\nbuild-image:\n", "\nimage:\n", "GitLab reserves some names that no job may have: image, "},
		"an unknown key":        {"\n  interruptible: true", "\n  interruptable: true", "interruptable"},
		"for whoever may push":  {`$CI_COMMIT_REF_PROTECTED == "true" && $CI_COMMIT_TAG`, "$CI_COMMIT_TAG", `an unprotected tag starts ["check" "build-image"], not ["check"]`},
		"twice for one commit":  {"      when: never\n", "", `a push to the branch of a merge request starts ["check"], not []`},
		"not for merge request": {`"merge_request_event"`, `"merge_request"`, `a merge request starts [], not ["check"]`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := string(text)
			if tt.old != "" {
				changed = strings.Replace(changed, tt.old, tt.new, 1)
				if changed == string(text) {
					t.Fatalf("the pipeline has no %q", tt.old)
				}
			}
			repository := t.TempDir()
			if err := os.WriteFile(filepath.Join(repository, pipelineFile), []byte(changed), 0o644); err != nil {
				t.Fatal(err)
			}
			err := parser.CheckPipeline(t.Context(), repository, t.TempDir())
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestRunLocally runs jobs of a small repository; `mage ci:local` runs this one's.
func TestRunLocally(t *testing.T) {
	repository := t.TempDir()
	const jobs = `
stages: [check, image]
variables:
  CUBEOS_PROFILE: {value: pios, options: [pios, lab]}
check:
  stage: check
  image: golang:1.26-bookworm
  script:
    - test -e committed && ! test -e uncommitted
    - echo "ran $CI_JOB_STAGE in $CI_PROJECT_DIR as $GITLAB_CI"
build-image:
  stage: image
  rules:
    - if: $CI_COMMIT_REF_PROTECTED == "true" && $CI_PIPELINE_SOURCE == "web"
  script:
    - echo "makes $CUBEOS_PROFILE"
    - exit 3
`
	for name, content := range map[string]string{pipelineFile: jobs, "committed": ""} {
		if err := os.WriteFile(filepath.Join(repository, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "--quiet"}, {"add", "."},
		{"-c", "user.name=CI", "-c", "user.email=ci@gitlab.example", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message=all"},
	} {
		if err := process.Run(t.Context(), append([]string{"git", "-C", repository}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(repository, "uncommitted"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	run := func(job string) (string, error) {
		var out strings.Builder
		err := RunLocally(t.Context(), Local{Root: repository, Pins: root, Job: job, Cache: cache, Output: &out, Variables: map[string]string{ProfileVariable: "lab"}})
		return out.String(), err
	}
	out, err := run(CheckJob)
	if err != nil || !strings.Contains(out, "ran check in ") || !strings.Contains(out, " as true") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = run("build-image")
	if err == nil || !strings.Contains(err.Error(), "the job build-image") || !strings.Contains(out, "makes lab") {
		t.Errorf("a job that fails: %v\n%s", err, out)
	}
}

// TestOwnJobGetsToItsTargets runs the job of this repository that makes images as far
// as to its decision what to do, which is refused.
func TestOwnJobGetsToItsTargets(t *testing.T) {
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := process.Output(t.Context(), "go", "env", "GOMODCACHE")
	if err != nil {
		t.Fatal(err)
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = RunLocally(t.Context(), Local{
		Root: root, Pins: root, Job: "build-image", Cache: t.TempDir(), Output: &out,
		Variables: map[string]string{ProfileVariable: "nonsense", "XDG_CACHE_HOME": caches, "GOMODCACHE": modules},
	})
	for _, want := range []string{"planning the job build-image: ", `CUBEOS_PROFILE is "nonsense": want pios or lab`} {
		if err == nil || !strings.Contains(out.String(), want) {
			t.Errorf("%v, want %q in\n%s", err, want, out.String())
		}
	}
	if strings.Contains(out.String(), "is not protected") {
		t.Errorf("the job's branch is not protected:\n%s", out.String())
	}
}
