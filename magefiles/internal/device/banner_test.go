package device

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBanner(t *testing.T) {
	t.Parallel()
	const issue = "run/issue.d/cubeos.issue"
	for name, tt := range map[string]struct {
		set  func(d *fake)
		want string // on the console; the login prompt looks eth0's address up
	}{
		"all well": {
			func(d *fake) {
				d.stubFile("eth0", "2: eth0    inet 192.0.2.5/24 brd 192.0.2.255 scope global dynamic eth0\n")
			},
			"CubeOS    first boot complete\nWiFi      CubeOS-01ABCD\n          http://cubeos.cube or http://10.42.24.1\nCable     192.0.2.5\n",
		},
		"random key": {
			func(d *fake) {
				d.write("cubeos/config/ap.env", "CUBEOS_AP_SSID=Anna\\n\nCUBEOS_AP_KEY=abcd-efgh-2345-6789\n")
			},
			"CubeOS    first boot complete\nWiFi      Anna\\n\nWiFi key  abcd-efgh-2345-6789\n          http://cubeos.cube or http://10.42.24.1\nCable     no address\n",
		},
		"no radio": {
			func(d *fake) { d.remove("sys/class/net/wlan0") },
			"CubeOS    first boot complete\nWiFi      none: there is no wlan0\nCable     no address\n",
		},
		"failed": {
			func(d *fake) {
				d.stubFile("init", "failed\n")
				d.stubFile("failed", "cubeos-init.service loaded failed failed Bring up CubeOS\n")
				d.stubFile("journal", "CUBEOS: stage x: start\nCUBEOS: ERROR: npm does not answer\nCUBEOS: ERROR: npm does not answer\nCUBEOS: ERROR: 1 problem(s)\n")
			},
			"CubeOS    first boot NOT complete\nProblem   npm does not answer\nProblem   1 problem(s)\nWiFi      CubeOS-01ABCD\n" +
				"          http://cubeos.cube or http://10.42.24.1\nCable     no address\n",
		},
		"failed silently": {
			func(d *fake) {
				d.stubFile("failed", "cubeos-access-point.service loaded failed failed x\n")
				d.unstub("hostapd")
			},
			"CubeOS    first boot complete\nProblem   cubeos-access-point.service failed and does not say why\nWiFi      not up\nCable     no address\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.write("run/cubeos/boot-mode", "first\n")
			d.write("cubeos/config/ap.env", "CUBEOS_AP_SSID=CubeOS-01ABCD\nCUBEOS_AP_KEY=cubeos-01ABCD\n")
			d.stubFile("hostapd", "")
			tt.set(d)
			out, err := d.script("cubeos-banner.sh", nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(tt.want, out); diff != "" {
				t.Errorf("the console (-want +got):\n%s", diff)
			}
			shared, _, _ := strings.Cut(tt.want, "Cable ")
			if diff := cmp.Diff(strings.ReplaceAll(shared, `\`, `\\`)+"Cable     \\4{eth0}\n\n", d.read(issue)); diff != "" {
				t.Errorf("the login prompt (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"login prompt"}, d.effects()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if out, err := d.script("cubeos-banner.sh", nil); err != nil || out != "" || d.effects() != nil {
				t.Errorf("again, with nothing new: %v\n%s", err, out)
			}
		})
	}
}
