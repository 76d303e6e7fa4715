// Package gitlab decides what a GitLab job has to do, and checks the pipeline that
// the jobs are in.
package gitlab

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// The stages of .gitlab-ci.yml, which is how a job says what it is for.
const (
	StageCheck = "check" // on every push
	StageImage = "image" // on tags and on manual runs
)

// protected is "true" where not everybody may push.
const protected = "CI_COMMIT_REF_PROTECTED"

// Target is a target of the magefiles that a job runs.
type Target string

// The targets a job may run.
const (
	Lint    Target = "lint"
	Unit    Target = "test:unit"
	Release Target = "release" // builds, compresses, describes and boots the image
	Demo    Target = "demo"    // makes and boots the lab image, in the core scenarios
)

// Job is what a job has to do: the targets, in order, and their flags.
type Job struct {
	Targets []Target
	Profile string // of Release
	Version string // of Release; empty for what git describes
}

// ProfileVariable is the variable that chooses the profile of a manual run.
const ProfileVariable = "CUBEOS_PROFILE"

// Plan decides from GitLab's variables. It reports everything that is wrong
// with them at once.
func Plan(env func(string) string) (Job, error) {
	if env("GITLAB_CI") != "true" {
		return Job{}, errors.New("this is no GitLab job (GITLAB_CI is not set): `go tool mage test` runs all checks, and `go tool mage release` makes an image")
	}
	switch stage := env("CI_JOB_STAGE"); stage {
	case StageCheck:
		return Job{Targets: []Target{Lint, Unit}}, nil
	case StageImage:
		job, err := planImage(env("CI_COMMIT_TAG"), env("CI_PIPELINE_SOURCE"), env(ProfileVariable))
		if err = errors.Join(err, CheckRunner(env)); err != nil {
			return Job{}, fmt.Errorf("planning the job %s: %w", env("CI_JOB_NAME"), err)
		}
		return job, nil
	case "":
		return Job{}, errors.New("CI_JOB_STAGE is not set: a job says with its stage what it is for")
	default:
		return Job{}, fmt.Errorf("job %s is in stage %q: want %s or %s", env("CI_JOB_NAME"), stage, StageCheck, StageImage)
	}
}

// CheckRunner reports what of a job's surroundings is not as an image job wants
// them, as far as GitLab's variables tell.
func CheckRunner(env func(string) string) error {
	var problems []error
	if env(protected) != "true" {
		problems = append(problems, fmt.Errorf("%s is not protected: protect it in the project's settings (Repository, Protected branches or Protected tags), so that not everybody who may push gets a privileged runner", env("CI_COMMIT_REF_NAME")))
	}
	var tags []string
	if err := json.Unmarshal([]byte(env("CI_RUNNER_TAGS")), &tags); err == nil && !slices.Contains(tags, "privileged") {
		problems = append(problems, fmt.Errorf("the runner %s is not tagged privileged", env("CI_RUNNER_DESCRIPTION")))
	}
	return errors.Join(problems...)
}

// manualSources are the ways a person or a program of theirs starts a pipeline.
func manualSources() []string { return []string{"web", "api", "trigger", "schedule"} }

func planImage(tag, source, profile string) (Job, error) {
	var problems []error
	job := Job{Targets: []Target{Release}, Profile: "pios"}
	switch profile {
	case "", "pios":
	case "lab":
		job = Job{Targets: []Target{Demo}}
	default:
		problems = append(problems, fmt.Errorf("%s is %q: want pios or lab", ProfileVariable, profile))
	}
	switch {
	case tag != "":
		version, ok := strings.CutPrefix(tag, "v")
		if !ok {
			problems = append(problems, fmt.Errorf("tag %q: want one such as v1.2.3", tag))
		} else if err := artifact.CheckVersion(version); err != nil {
			problems = append(problems, fmt.Errorf("tag %q: %w", tag, err))
		}
		if profile == "lab" {
			problems = append(problems, fmt.Errorf("%s is lab, but a tag is a release: a lab image is never released", ProfileVariable))
		}
		job.Version = version
	case source == "":
		problems = append(problems, errors.New("CI_PIPELINE_SOURCE is not set"))
	case !slices.Contains(manualSources(), source):
		problems = append(problems, fmt.Errorf("an image is made for a tag or a manual run only, not for a pipeline from %q", source))
	}
	return job, errors.Join(problems...)
}
