package pipeline

import (
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/rootfs"
)

func TestJudgeAllowsContentsOnly(t *testing.T) {
	const cache = "/var/cache/ldconfig/aux-cache"
	quiet := func(string, ...any) {}
	if err := judge(quiet, []rootfs.Difference{{Path: cache, What: "contents"}}); err != nil {
		t.Error(err)
	}
	err := judge(quiet, []rootfs.Difference{{Path: cache, What: "mode 600, 644"}, {Path: "/usr/bin/x", What: "contents"}})
	for _, want := range []string{"2 files", cache + ": mode", "/usr/bin/x: contents"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
