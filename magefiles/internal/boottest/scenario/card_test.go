package scenario

import (
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
)

func TestJudgeDifference(t *testing.T) {
	for _, tt := range []struct{ own, other, want string }{
		{"a", "b", ""},
		{"a", "a", "both devices"},
		{"", "b", `this device says ""`},
		{"a", "", `the other one ""`},
	} {
		if _, err := judgeDifference(tt.own, tt.other); (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q and %q: %v, want %q", tt.own, tt.other, err, tt.want)
		}
	}
}

func TestFromImager(t *testing.T) {
	files := map[string]string{}
	for _, f := range fromImager(card.Seed{InstanceID: "1", User: "anna", AuthorizedKey: "ssh-ed25519 AAAA\n", Cmdline: "root=x rootwait"}) {
		files[f.Name] = string(f.Content)
	}
	for name, want := range map[string]string{
		"meta-data":   "instance-id: rpi-imager-1\n",
		"cmdline.txt": "root=x rootwait cfg80211.ieee80211_regdom=DE ds=nocloud;i=rpi-imager-1",
		"user-data":   "  ssh_authorized_keys:\n    - \"ssh-ed25519 AAAA\"\n",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s has no %q:\n%s", name, want, files[name])
		}
	}
}
