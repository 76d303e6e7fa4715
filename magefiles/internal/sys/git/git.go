// Package git asks git about a checkout, and about no other.
package git

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// IsCheckout reports whether dir is the top of a checkout. A source archive that
// was unpacked inside another repository's is none: what git says in there is
// about that one.
func IsCheckout(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, ".git"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Head returns the commit that is checked out in dir.
func Head(ctx context.Context, dir string) (string, error) {
	if _, err := Output(ctx, dir, "rev-parse", "--git-dir"); err != nil {
		return "", err
	}
	head, err := Output(ctx, dir, "rev-parse", "--verify", "--quiet", "HEAD")
	if err != nil {
		return "", errors.New("it has no commit yet: `git commit` makes one")
	}
	return head, nil
}

// Command is git with args in dir.
func Command(dir string, args ...string) process.Cmd {
	return process.Cmd{Argv: append([]string{"git", "-C", dir}, args...), Env: environment(dir)}
}

// Output runs git in dir and returns what it prints.
func Output(ctx context.Context, dir string, args ...string) (string, error) {
	var out strings.Builder
	cmd := Command(dir, args...)
	cmd.Stdout = &out
	err := cmd.Run(ctx)
	return strings.TrimRight(out.String(), "\n"), err
}

// environment is that of this program without what leads git to another
// repository or to other files, as its hooks and `git rebase --exec` are told.
func environment(dir string) []string {
	const local = "GIT_DIR GIT_WORK_TREE GIT_COMMON_DIR GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES " +
		"GIT_NAMESPACE GIT_PREFIX GIT_GRAFT_FILE GIT_SHALLOW_FILE GIT_REPLACE_REF_BASE GIT_IMPLICIT_WORK_TREE GIT_INTERNAL_SUPER_PREFIX"
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(strings.Fields(local), name)
	})
	return append(env, "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
}
