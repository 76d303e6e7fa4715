package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/proof/realservices"
)

// Contract asks the services' images of a profile what the stand-ins' contract has,
// and prints a table of how each has answered.
func Contract(ctx context.Context, b *pipeline.Build) (err error) {
	if err := b.ContainerImages(ctx); err != nil {
		return err
	}
	dir := filepath.Join(b.Dir, "contract.partial") // swept if this is killed
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	variables := map[string]string{}
	for _, p := range b.Recipe.Provisioners {
		for _, setting := range p.Env {
			name, value, _ := strings.Cut(setting, "=")
			variables[name] = value
		}
	}
	results, err := realservices.Run(ctx, realservices.Options{
		Root: b.Root, Services: b.Services, Images: b.ContainerImagesDir(), Variables: variables,
		Version: b.Version, Epoch: b.Revision.Time, WorkDir: dir, Lock: b.LockFile(), Log: b.Log,
	})
	if len(results) > 0 {
		fmt.Println()
		err = errors.Join(err, results.Write(os.Stdout))
	}
	return errors.Join(err, results.Err())
}
