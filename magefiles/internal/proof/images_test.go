package proof

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFirstDifference(t *testing.T) {
	const mib = 1 << 20
	write := func(name string, size int, at ...int) string {
		b := make([]byte, size)
		for _, i := range at {
			b[i] = 1
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := write("a", 3*mib, mib)
	for name, tt := range map[string]struct {
		other string
		want  int64
	}{
		"byte":    {write("b", 3*mib, mib, 2*mib+5, 2*mib+6), 2*mib + 5},
		"first":   {write("c", 3*mib, 0, mib), 0},
		"shorter": {write("d", 2*mib+7, mib), 2*mib + 7},
		"same":    {write("e", 3*mib, mib), 3 * mib},
	} {
		if got, err := firstDifference(a, tt.other); got != tt.want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", name, got, err, tt.want)
		}
	}
}
