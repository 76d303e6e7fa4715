//go:build mage

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// Recipe prints a profile's recipe with every expression evaluated, as JSON; under packer_only is what the embedded engine has no use for.
func Recipe(ctx context.Context, profile, version *string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	v := or(version, "")
	if v == "" {
		if v, err = artifact.VersionFromGit(ctx, root); err != nil {
			return err
		}
	}
	r, err := recipe.LoadProfile(root, or(profile, defaultProfile), map[string]string{"version": v})
	if err != nil {
		return err
	}
	if err := r.Dump(os.Stdout); err != nil {
		return err
	}
	unused := recipe.PackerOnly()
	for _, name := range slices.Sorted(maps.Keys(unused)) {
		fmt.Fprintf(os.Stderr, "%s is for Packer only: %s.\n", name, unused[name])
	}
	return nil
}
