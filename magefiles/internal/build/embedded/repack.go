package embedded

import (
	"context"
	"fmt"
	"os"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Repack writes the job's image from the file systems in another one that has
// been provisioned already, the way the embedded engine would: as large as its
// content needs. tree is a directory to be made for the files on the way; it
// is left to the caller.
func Repack(ctx context.Context, job build.Job, provisioned, tree string, log *progress.Reporter) error {
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	l, err := extractImage(ctx, job.Recipe, provisioned, tree)
	if err != nil {
		return fmt.Errorf("extracting the provisioned image: %w", err)
	}
	return pack(ctx, job, l, []string{tree}, log)
}
