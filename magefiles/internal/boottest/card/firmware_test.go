package card

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	t.Parallel()
	const out = `/2/040755/0/0/.//
/2/040755/0/0/..//
/12/040755/0/0/6.12.107+deb13-arm64//
/13/100644/0/0/a file/21/
/14/120777/0/0/link/4/

`
	for kind, want := range map[string][]string{"04": {"6.12.107+deb13-arm64"}, "1": {"a file", "link"}} {
		if diff := cmp.Diff(want, names(out, kind)); diff != "" {
			t.Errorf("names of kind %s (-want +got):\n%s", kind, diff)
		}
	}
}

func TestCmdlineOfACustomisedCard(t *testing.T) {
	t.Parallel()
	b := &Boot{Cmdline: "root=x rootwait", CmdlineFile: "cmdline.txt"}
	for _, tt := range []struct {
		files []File
		want  string
	}{
		{nil, "root=x rootwait"},
		{[]File{{Name: "user-data", Content: []byte("x")}}, "root=x rootwait"},
		{[]File{{Name: "cmdline.txt", Content: []byte("root=x rootwait ds=nocloud;i=1\n")}}, "root=x rootwait ds=nocloud;i=1"},
	} {
		if got := b.CmdlineWith(tt.files); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
