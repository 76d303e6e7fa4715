package gitlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/source/npm"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

const pipelineFile = ".gitlab-ci.yml"

// remote is what a repository of a pipeline has to have; nobody asks it anything.
const remote = "https://gitlab.example/cubeos-app/releases.git"

// Parser is gitlab-ci-local, with the Node that runs it.
type Parser struct{ dir string }

// OpenParser makes it in dir of what .ci/gitlab-ci-local pins, which is fetched
// unless it is in the directory cache.
func OpenParser(ctx context.Context, root, dir, cache string) (Parser, error) {
	packages, err := npm.ReadLock(filepath.Join(root, ".ci", "gitlab-ci-local", "package-lock.json"))
	if err != nil {
		return Parser{}, err
	}
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Parser{}, err
	}
	p := Parser{dir}
	return p, errors.Join(
		packages["node-linux-"+arch].Extract(ctx, cache, "bin/node", p.node(), 0o755),
		packages["gitlab-ci-local"].Extract(ctx, cache, "dist/index.js", p.script(), 0o644),
	)
}

func (p Parser) node() string   { return filepath.Join(p.dir, "node") }
func (p Parser) script() string { return filepath.Join(p.dir, "gitlab-ci-local.mjs") }

// run runs it on the pipeline of a repository.
func (p Parser) run(ctx context.Context, repository string, variables map[string]string, stdout, stderr io.Writer, args ...string) error {
	argv := []string{p.node(), p.script(), "--home", filepath.Join(p.dir, "home")}
	names := slices.Sorted(maps.Keys(variables))
	for _, name := range names {
		argv = append(argv, "--variable", name+"="+variables[name])
	}
	// It warns where one of these is given.
	argv = append(argv, "--ignore-predefined-vars", strings.Join(names, ","))
	return process.Cmd{Argv: append(argv, args...), Dir: repository, Stdout: stdout, Stderr: stderr}.Run(ctx)
}

// Event is something that makes GitLab look for jobs.
type Event struct {
	Name      string
	Variables map[string]string
	Jobs      []string // that it has to start, in the order of the file
}

// Events are those that this project has an idea of.
func Events() []Event {
	vars := func(source, branch, tag, isProtected string) map[string]string {
		return map[string]string{"CI_PIPELINE_SOURCE": source, "CI_COMMIT_BRANCH": branch, "CI_COMMIT_TAG": tag, protected: isProtected}
	}
	proposed := vars("push", "topic", "", "false")
	proposed["CI_OPEN_MERGE_REQUESTS"] = "cubeos-app/releases!1"
	check, all := []string{"check"}, []string{"check", "build-image"}
	return []Event{
		{"a push", vars("push", "topic", "", "false"), check},
		{"a push to a protected branch", vars("push", "main", "", "true"), check},
		{"a push to the branch of a merge request", proposed, nil},
		{"a merge request", vars("merge_request_event", "", "", "false"), check},
		{"a protected tag", vars("push", "", "v1.2.3", "true"), all},
		{"an unprotected tag", vars("push", "", "v1.2.3", "false"), check},
		{"a protected tag that is no version", vars("push", "", "nightly", "true"), check},
		{"a schedule", vars("schedule", "main", "", "true"), all},
		{"a manual run", vars("web", "main", "", "true"), all},
		{"a manual run of an unprotected branch", vars("web", "topic", "", "false"), check},
	}
}

// allowed is a job that a copy of the pipeline gets, since gitlab-ci-local takes no
// notice of the rules of the workflow: it runs if they allow anything to.
const allowed = "what-the-workflow-allows"

const allowedJob = `
` + allowed + `:
  stage: ` + StageCheck + `
  script: ["true"]
  rules: !reference [workflow, rules]
`

// CheckPipeline has the parser read the pipeline of the checkout at root, and
// compares the jobs that each event starts with those that it has to. work is an
// empty directory.
func (p Parser) CheckPipeline(ctx context.Context, root, work string) error {
	text, err := os.ReadFile(filepath.Join(root, pipelineFile))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, pipelineFile), append(text, allowedJob...), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"remote", "add", "origin", remote},
		{"-c", "user.name=CI", "-c", "user.email=ci@gitlab.example", "-c", "commit.gpgsign=false", "commit", "--quiet", "--allow-empty", "--message=pipeline"},
	} {
		if err := process.Run(ctx, append([]string{"git", "-C", work}, args...)...); err != nil {
			return fmt.Errorf("making a repository for %s: %w", pipelineFile, err)
		}
	}
	var problems []error
	for i, e := range Events() {
		args := []string{"--list-csv-all"}
		if i > 0 { // once is enough
			args = append(args, "--no-json-schema-validation")
		}
		got, err := p.jobs(ctx, work, e.Variables, args)
		if err != nil {
			return fmt.Errorf("%s is not valid: %w\nGitLab reserves some names that no job may have: image, services, stages, before_script, after_script, variables, cache, include, true, false, nil, pages:deploy", pipelineFile, err)
		}
		if !slices.Equal(got, e.Jobs) {
			problems = append(problems, fmt.Errorf("%s: %s starts %q, not %q", pipelineFile, e.Name, got, e.Jobs))
		}
	}
	return errors.Join(problems...)
}

// jobs are those that run by themselves with the given variables.
func (p Parser) jobs(ctx context.Context, repository string, variables map[string]string, args []string) ([]string, error) {
	var out bytes.Buffer
	if err := p.run(ctx, repository, variables, &out, nil, args...); err != nil {
		return nil, err
	}
	var jobs []string
	open := false
	for line := range strings.Lines(out.String()) {
		fields := strings.Split(strings.TrimSpace(line), ";")
		switch {
		case len(fields) < 3 || fields[0] == "name":
		case fields[0] == allowed:
			open = fields[2] == "on_success"
		case fields[2] == "on_success":
			jobs = append(jobs, fields[0])
		}
	}
	if !open {
		return nil, nil
	}
	return jobs, nil
}
