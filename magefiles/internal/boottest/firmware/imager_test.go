package firmware

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestCheckImager(t *testing.T) {
	t.Parallel()
	boot := func(userData string) fstest.MapFS {
		return fstest.MapFS{"meta-data": {}, "network-config": {}, "user-data": {Data: []byte(userData)}}
	}
	for name, tt := range map[string]struct {
		format   string
		boot     fstest.MapFS
		programs []string
		want     []string
	}{
		"Raspberry Pi OS of today":   {"cloudinit-rpi", boot("#cloud-config\n"), []string{"bash", "cloud-init"}, nil},
		"none":                       {"none", fstest.MapFS{}, []string{"bash"}, nil},
		"older Raspberry Pi OS":      {"cloudinit-rpi", boot("#cloud-config\n"), []string{"bash"}, []string{"has cloud-init: false"}},
		"told the old way":           {"systemd", fstest.MapFS{}, []string{"cloud-init"}, []string{`has cloud-init: true; Imager is told init_format "systemd"`}},
		"the next Raspberry Pi OS":   {"cloudinit-rpi", boot("#cloud-config\n"), []string{"rpi-preseed"}, []string{"has cloud-init: false", "has rpi-preseed: true"}},
		"nothing to replace":         {"cloudinit", fstest.MapFS{}, []string{"cloud-init"}, []string{"no meta-data", "no user-data", "no network-config"}},
		"user-data without a header": {"cloudinit", boot("hostname: x\n"), []string{"cloud-init"}, []string{"#cloud-config"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			err := CheckImager(tt.format, tt.boot, tt.programs)
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%d problems, want %d: %v", len(got), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("%q says nothing of %q", got[i], want)
				}
			}
		})
	}
}
