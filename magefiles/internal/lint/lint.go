// Package lint checks the sources.
package lint

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/build/packer"
	"github.com/cubeos-app/releases/magefiles/internal/docs"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/gitlab"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Run checks the sources of the repository that is the working directory, and
// reports everything that is wrong with them. It changes nothing but the directory
// cache, which keeps what it fetches.
func Run(ctx context.Context, cache string, log *progress.Reporter) error {
	scripts, err := shellScripts(ctx)
	if err != nil {
		return err
	}
	recipes, err := recipeFiles()
	if err != nil {
		return err
	}
	var problems []error
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"gofmt", func() error { return mustBeSilent(ctx, "gofmt", "-l", "magefiles") }},
		{"go mod tidy", func() error { return process.Run(ctx, "go", "mod", "tidy", "-diff") }},
		{"golangci-lint, which is compiled the first time", func() error { return golangci(ctx) }},
		{"deadcode", func() error { return deadcode(ctx) }},
		{"shellcheck", func() error { return process.Run(ctx, append([]string{"shellcheck"}, scripts...)...) }},
		{"shfmt", func() error { return process.Run(ctx, append([]string{"go", "tool", "shfmt", "-d"}, scripts...)...) }},
		{"recipe format", func() error { return recipeFormat(recipes) }},
		{"GitLab's pipeline", func() error { return pipeline(ctx, cache) }},
		{"links of the documents", func() error { return docs.CheckLinks(".") }},
		{"recipe by Packer itself, which is compiled the first time", func() error { return packer.Validate(ctx, ".") }},
	} {
		log.Printf("lint: %s", c.name)
		problems = append(problems, c.run())
	}
	return errors.Join(problems...)
}

func golangci(ctx context.Context) error {
	return process.Run(ctx, "go", "tool", "-modfile=.ci/golangci.mod", "golangci-lint", "run", "--config=.ci/golangci.yml", "./magefiles/...")
}

// pipeline has a parser of GitLab's language read the jobs.
func pipeline(ctx context.Context, cache string) (err error) {
	dir, err := os.MkdirTemp("", "cubeos-lint-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	work := filepath.Join(dir, "pipeline")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	parser, err := gitlab.OpenParser(ctx, ".", dir, cache)
	if err != nil {
		return err
	}
	return parser.CheckPipeline(ctx, ".", work)
}

func recipeFormat(files []string) error {
	var problems []error
	for _, file := range files {
		problems = append(problems, recipe.CheckFormat(file))
	}
	return errors.Join(problems...)
}

// mustBeSilent runs a command whose every line of output is a problem.
func mustBeSilent(ctx context.Context, argv ...string) error {
	out, err := process.Output(ctx, argv...)
	if err == nil && out != "" {
		err = errors.New(strings.Join(argv, " ") + " lists:\n" + out)
	}
	return err
}
