package packer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Validate asks Packer itself, as pinned in .ci/packer.mod, whether the recipe
// of the repository at root is formatted and understood, with every profile.
// It needs no plugin for that, so what the attributes of the source mean is not
// checked.
func Validate(ctx context.Context, root string) error {
	profiles, err := recipe.Profiles(filepath.Join(root, "packer"))
	if err != nil {
		return err
	}
	commands := [][]string{{"fmt", "-check", "-diff", "packer"}}
	for _, profile := range profiles {
		commands = append(commands, validateArgs(profile, "-syntax-only"))
	}
	var problems []error
	for _, args := range commands {
		problems = append(problems, process.Cmd{
			Argv: append([]string{"go", "tool", "-modfile=.ci/packer.mod", "packer"}, args...),
			Dir:  root,
			Env:  packerEnv(os.Environ()),
		}.Run(ctx))
	}
	return errors.Join(problems...)
}

func validateArgs(profile string, options ...string) []string {
	args := append([]string{"validate"}, options...)
	return append(args, "-var-file=packer/"+profile+".pkrvars.hcl", "-var", "version=1.2.3", "packer/cubeos.pkr.hcl")
}

// packerEnv leaves out of an environment what Packer would take orders from.
func packerEnv(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		return strings.HasPrefix(kv, "PKR_VAR_") || strings.HasPrefix(kv, "PACKER_")
	})
	return append(env, "CHECKPOINT_DISABLE=1")
}
