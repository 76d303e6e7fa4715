package release

import (
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/proof"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// The build can do nothing: whatever is not refused first would panic.
func TestRunRefusesBeforeAnyWork(t *testing.T) {
	b := &pipeline.Build{Options: pipeline.Options{Profile: "lab"}, Revision: workspace.Revision{Dirty: true}}
	err := Run(t.Context(), b, proof.BootOptions{})
	for _, want := range []string{"lab are never released", "not committed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
