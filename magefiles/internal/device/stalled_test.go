package device

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStages(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	var seen []string
	// Whoever is called in a stage sees it.
	if out, err := d.script("cubeos-docker-preload.sh", nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen = append(seen, d.read("run/cubeos/stage"))
	d.mustBoot()
	seen = append(seen, d.read("run/cubeos/stage"))
	d.stubFile("docker-broken", "")
	if _, err := d.boot(); err == nil {
		t.Error("a boot without Docker succeeded")
	}
	seen = append(seen, d.read("run/cubeos/stage"))
	if diff := cmp.Diff([]string{"images 1000\n", "done 1000\n", "done 1000\n"}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStalledBoot(t *testing.T) {
	t.Parallel()
	const (
		told  = "run/cubeos/stalled-boot"
		issue = "run/issue.d/cubeos.issue"
	)
	newStalled := func(t *testing.T, state, began string) *fake {
		d := newFake(t)
		d.write("run/cubeos/boot-mode", "first\n")
		d.write("cubeos/config/ap.env", "CUBEOS_AP_SSID=CubeOS-01ABCD\nCUBEOS_AP_KEY=cubeos-01ABCD\n")
		d.write("run/cubeos/stage", "swarm 700\n")
		d.write("sys/class/tty/console/active", "tty1 ttyAMA0\n")
		d.mkdir(filepath.Join(d.root, "dev"))
		d.stubFile("init", state+"\n")
		d.stubFile("init-runs", "InactiveExitTimestampMonotonic="+began+"\nActiveState="+state+"\n")
		return d
	}
	for name, tt := range map[string]struct {
		state, began, says string
		env                []string
	}{
		"over":          {state: "active", began: "10000000"},
		"failed":        {state: "failed", began: "10000000"},
		"in its time":   {state: "activating", began: "101000000"},
		"too long":      {state: "activating", began: "100000000", says: "the boot is not complete after 15 min: stage swarm for 5 min"},
		"waits":         {state: "inactive", began: "0", says: "the boot is not complete after 16 min: stage swarm for 5 min"},
		"another limit": {state: "activating", began: "940000000", says: "the boot is not complete after 60 s: stage swarm for 5 min", env: []string{"CUBEOS_BOOT_LIMIT=60"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newStalled(t, tt.state, tt.began)
			out, err := d.script("cubeos-stalled-boot.sh", nil, tt.env...)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if tt.says == "" {
				if out != "" || d.exists(told) || d.exists(issue) || d.exists("dev/tty1") {
					t.Errorf("it says %q", out)
				}
				return
			}
			if want := "CUBEOS: WARNING: " + tt.says + "\n"; out != want {
				t.Errorf("the journal has %q, want %q", out, want)
			}
			for _, console := range []string{"dev/tty1", "dev/ttyAMA0", told} {
				if !strings.Contains(d.read(console), tt.says) {
					t.Errorf("%s shows %q", console, d.read(console))
				}
			}
			if got := d.read(issue); tt.state == "activating" && !strings.Contains(got, "CubeOS    first boot not yet complete: stage swarm for 5 min\n") {
				t.Errorf("the login prompt shows\n%s", got)
			}
		})
	}
	t.Run("until it is over", func(t *testing.T) {
		t.Parallel()
		d := newStalled(t, "activating", "1")
		for range 2 {
			if out, err := d.script("cubeos-stalled-boot.sh", nil); err != nil || !strings.Contains(out, "the boot is not complete") {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		d.effects()
		d.stubFile("init-runs", "ActiveState=active\nInactiveExitTimestampMonotonic=1\n")
		out, err := d.script("cubeos-stalled-boot.sh", nil)
		if err != nil || !strings.Contains(out, "the boot that took too long is over: cubeos-init is active") || d.exists(told) {
			t.Errorf("%v\n%s", err, out)
		}
		if diff := cmp.Diff([]string{"stop cubeos-stalled-boot.timer", "start cubeos-banner.service"}, d.effects()); diff != "" {
			t.Errorf("effects (-want +got):\n%s", diff)
		}
	})
}
