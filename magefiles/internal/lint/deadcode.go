package lint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// mainFile is what mage generates: the main function that the targets lack.
const mainFile = "magefiles/mage_output_file.go"

// deadcode lists the functions that no program reaches. What only tests call is
// dead, too, unless it is in a package for tests.
func deadcode(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "cubeos-lint-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Mage keeps it also when it cannot be compiled.
	defer func() { err = errors.Join(err, os.RemoveAll(mainFile)) }()
	if err := process.Run(ctx, "go", "tool", "mage", "-keep", "-compile", filepath.Join(dir, "mage")); err != nil {
		return fmt.Errorf("generating the main function of the targets: %w", err)
	}
	if err := tagMain("deadcode"); err != nil {
		return err
	}
	const tags = "-tags=mage,deadcode"
	programs, err := process.Output(ctx, "go", "list", tags, "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, "./magefiles/...")
	if err != nil {
		return err
	}
	return mustBeSilent(ctx, append([]string{"go", "tool", "deadcode", tags}, strings.Fields(programs)...)...)
}

// tagMain makes the generated file a part of its package wherever the tag is
// given. Mage itself compiles it by its name, and marks it to be ignored.
func tagMain(tag string) error {
	generated, err := os.ReadFile(mainFile)
	if err != nil {
		return err
	}
	constraint, rest, _ := bytes.Cut(generated, []byte("package main"))
	if !bytes.Contains(constraint, []byte("//go:build ignore")) {
		return fmt.Errorf("%s begins otherwise than mage used to write it: %s", mainFile, constraint)
	}
	return os.WriteFile(mainFile, append([]byte("//go:build "+tag+"\n\npackage main"), rest...), 0o644)
}
