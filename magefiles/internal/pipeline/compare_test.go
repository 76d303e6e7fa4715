package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
)

func TestJudgeAllowsContentsOnly(t *testing.T) {
	const cache = "/var/cache/x"
	allowed := map[string]string{cache: "it may"}
	quiet := func(string, ...any) {}
	if err := judge(quiet, []chroot.Difference{{Path: cache, What: "contents"}}, allowed); err != nil {
		t.Error(err)
	}
	err := judge(quiet, []chroot.Difference{{Path: cache, What: "mode 600, 644"}, {Path: "/usr/bin/x", What: "contents"}}, allowed)
	for _, want := range []string{"(2)", cache + ": mode", "/usr/bin/x: contents"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestJudgeListsTheFirst(t *testing.T) {
	var many []chroot.Difference
	for i := range listed + 5 {
		many = append(many, chroot.Difference{Path: fmt.Sprint("/", i), What: "contents"})
	}
	err := judge(t.Logf, many, nil)
	if err == nil || !strings.Contains(err.Error(), "files that differ (45):\n/0: contents\n") || !strings.HasSuffix(err.Error(), "/39: contents\nand 5 more") {
		t.Errorf("got %v", err)
	}
}

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
