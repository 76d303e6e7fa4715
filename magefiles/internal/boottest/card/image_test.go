package card

import "testing"

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
