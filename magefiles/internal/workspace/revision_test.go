package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

func TestReadRevision(t *testing.T) {
	apart(t)
	w := Workspace{Root: t.TempDir()}
	if _, err := w.ReadRevision(t.Context()); err == nil {
		t.Error("an empty directory has a revision")
	}
	if err := process.Run(t.Context(), "git", "init", "-q", w.Root); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ReadRevision(t.Context()); err == nil || !strings.Contains(err.Error(), "no commit yet") {
		t.Errorf("without a commit: %v", err)
	}
	t.Setenv("GIT_COMMITTER_DATE", "1700000000 +0200")
	script := `git init -q "$1"; cd "$1"; git config user.email t@example.org; git config user.name t
echo a >file; git add file; git commit -qm first`
	if err := process.Run(t.Context(), "sh", "-euc", script, "sh", w.Root); err != nil {
		t.Fatal(err)
	}
	clean, err := w.ReadRevision(t.Context())
	if err != nil || len(clean.Commit) != 40 || clean.Dirty || !clean.Time.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("got %+v, %v", clean, err)
	}
	for _, change := range []struct {
		file  string
		dirty bool
	}{{"untracked", false}, {"file", true}} {
		if err := os.WriteFile(filepath.Join(w.Root, change.file), []byte("b"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := w.ReadRevision(t.Context()); err != nil || got.Dirty != change.dirty {
			t.Errorf("with another %s: got %+v, %v", change.file, got, err)
		}
	}
}

// A source archive inside another repository is not of that one's commit.
func TestRevisionOfASourceArchive(t *testing.T) {
	apart(t)
	outer := t.TempDir()
	script := `git init -q "$1"; cd "$1"; git config user.email t@example.org; git config user.name t
git commit -q --allow-empty -m outer; mkdir archive; echo module x >archive/go.mod; touch -d @1700000000 archive/go.mod`
	if err := process.Run(t.Context(), "sh", "-euc", script, "sh", outer); err != nil {
		t.Fatal(err)
	}
	w := Workspace{Root: filepath.Join(outer, "archive")}
	if got, err := w.ReadRevision(t.Context()); err != nil || got != (Revision{Time: time.Unix(1700000000, 0).UTC()}) {
		t.Errorf("got %+v, %v", got, err)
	}
	t.Setenv("GIT_DIR", filepath.Join(outer, ".git"))
	if got, err := w.ReadRevision(t.Context()); err != nil || got.Commit != "" {
		t.Errorf("with GIT_DIR: got %+v, %v", got, err)
	}
}

// apart keeps git from working on another repository than the one in the
// directory it is started in, as it is told to in a hook or by rebase --exec.
func apart(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") {
			t.Setenv(name, "") // puts it back in the end
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
