package gitlab

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlan(t *testing.T) {
	for name, tt := range map[string]struct {
		env     string
		want    Job
		wantErr []string
	}{
		"a push is checked":          {env: "CI_JOB_STAGE=check CI_PIPELINE_SOURCE=push CI_COMMIT_BRANCH=main", want: Job{Targets: []Target{Lint, Unit}}},
		"a merge request is checked": {env: "CI_JOB_STAGE=check CI_PIPELINE_SOURCE=merge_request_event", want: Job{Targets: []Target{Lint, Unit}}},
		"a tag is checked":           {env: "CI_JOB_STAGE=check CI_PIPELINE_SOURCE=push CI_COMMIT_TAG=v1.2.3", want: Job{Targets: []Target{Lint, Unit}}},
		"a tag is released":          {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=push CI_COMMIT_TAG=v1.2.3-rc.1", want: Job{Targets: []Target{Release}, Profile: "pios", Version: "1.2.3-rc.1"}},
		"a tag with a plus":          {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=push CI_COMMIT_TAG=v1.2.3+pi5", want: Job{Targets: []Target{Release}, Profile: "pios", Version: "1.2.3+pi5"}},
		"a tag that moves":           {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=push CI_COMMIT_TAG=v1.2", wantErr: []string{`tag "v1.2"`}},
		"a manual run":               {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=web CI_COMMIT_BRANCH=main", want: Job{Targets: []Target{Release}, Profile: "pios"}},
		"a manual run of a tag":      {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=web CI_COMMIT_TAG=v2.0.0", want: Job{Targets: []Target{Release}, Profile: "pios", Version: "2.0.0"}},
		"a manual run of the lab":    {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=web CUBEOS_PROFILE=lab", want: Job{Targets: []Target{Demo}}},
		"a schedule":                 {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=schedule CUBEOS_PROFILE=pios", want: Job{Targets: []Target{Release}, Profile: "pios"}},
		"no image for a push":        {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=push CI_JOB_NAME=make", wantErr: []string{"the job make", "tag or a manual run", `"push"`}},
		"no image for nothing":       {env: "CI_JOB_STAGE=image CI_COMMIT_REF_NAME=main", wantErr: []string{"CI_PIPELINE_SOURCE is not set", "main is not protected"}},
		"a tag that is no version":   {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=push CI_COMMIT_TAG=nightly", wantErr: []string{`tag "nightly"`, "v1.2.3"}},
		"a tag with a slash":         {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=push CI_COMMIT_TAG=v1.2.3/../x", wantErr: []string{"MAJOR.MINOR.PATCH"}},
		"everything wrong at once":   {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=push CUBEOS_PROFILE=x CI_COMMIT_TAG=1.2.3", wantErr: []string{`CUBEOS_PROFILE is "x"`, `tag "1.2.3"`}},
		"the lab is never released":  {env: "CI_JOB_STAGE=image CI_COMMIT_REF_PROTECTED=true CI_PIPELINE_SOURCE=push CUBEOS_PROFILE=lab CI_COMMIT_TAG=v1.2.3", wantErr: []string{"never released"}},
		"an unprotected tag":         {env: `CI_JOB_STAGE=image CI_PIPELINE_SOURCE=push CI_COMMIT_TAG=v1.2.3 CI_COMMIT_REF_NAME=v1.2.3 CI_COMMIT_REF_PROTECTED=false`, wantErr: []string{"v1.2.3 is not protected"}},
		"another runner":             {env: `CI_JOB_STAGE=image CI_PIPELINE_SOURCE=web CI_COMMIT_REF_PROTECTED=true CI_RUNNER_TAGS=["docker"] CI_RUNNER_DESCRIPTION=shared`, wantErr: []string{"the runner shared is not tagged privileged"}},
		"an unknown stage":           {env: "CI_JOB_STAGE=test CI_JOB_NAME=x", wantErr: []string{`job x is in stage "test"`}},
		"no stage":                   {env: "CI_JOB_NAME=x", wantErr: []string{"CI_JOB_STAGE is not set"}},
		"not in GitLab":              {env: "GITLAB_CI= CI=true", wantErr: []string{"no GitLab job", "go tool mage test"}},
	} {
		t.Run(name, func(t *testing.T) {
			vars := map[string]string{"GITLAB_CI": "true"}
			for pair := range strings.FieldsSeq(tt.env) {
				key, value, _ := strings.Cut(pair, "=")
				vars[key] = value
			}
			got, err := Plan(func(key string) string { return vars[key] })
			if (err == nil) != (tt.wantErr == nil) {
				t.Fatalf("got %+v, %v", got, err)
			}
			for _, want := range tt.wantErr {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if diff := cmp.Diff(tt.want, got); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The pipeline only names jobs: what they do is in this repository's program.
func TestPipelineCallsMageOnly(t *testing.T) {
	content, err := os.ReadFile("../../../../.gitlab-ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	scripts := regexp.MustCompile(`(?m)^ *(before_script|after_script|script):(.*)\n((?: +- .*\n)*)`).FindAllStringSubmatch(text, -1)
	if len(scripts) == 0 {
		t.Error("no job has a script")
	}
	for _, s := range scripts {
		if s[1] != "script" || strings.TrimSpace(s[2]) != "" || strings.TrimSpace(s[3]) != "- go tool mage ci" {
			t.Errorf("want nothing but go tool mage ci, got %s", s[0])
		}
	}
	stages := regexp.MustCompile(`(?m)^ +stage: (\S+)$`).FindAllStringSubmatch(text, -1)
	if len(stages) != len(scripts) {
		t.Errorf("%d stages for %d scripts", len(stages), len(scripts))
	}
	for _, s := range stages {
		if s[1] != StageCheck && s[1] != StageImage {
			t.Errorf("no plan for the stage %s", s[1])
		}
	}
}
