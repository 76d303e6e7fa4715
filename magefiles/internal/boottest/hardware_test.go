package boottest

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote/remotetest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

const servicesOfTheDevice = `{"services": [{"name": "one", "title": "One", "kind": "compose", "http": {"port": 80, "health": "/"},
  "ports": [{"port": 80, "protocols": ["tcp"], "reach": "network", "about": "page"}]}]}`

func sampleServices(t *testing.T) services.List {
	t.Helper()
	l, err := services.Parse([]byte(servicesOfTheDevice))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pi answers as a device does that has been switched on before.
type pi struct {
	list string
	boot atomic.Int64
}

func (p *pi) run(command string) remotetest.Answer {
	said := func(text string) remotetest.Answer { return remotetest.Answer{Stdout: text} }
	switch {
	case command == "sudo -n sh -c true":
		return said("")
	case strings.Contains(command, "cubeos-release"):
		return said(`{"model": "Raspberry Pi 5 Model B Rev 1.0", "memory_mib": 8064, "firmware": "2026/05/01 version abc", "bootloader": "2026-05-01 10:00:00",
  "kernel": "6.18.2-v8-16k+", "version": "1.2.3", "profile": "pios", "services": [` + p.list + `]}`)
	case strings.Contains(command, "boot_id"):
		return said(fmt.Sprintf("boot-%d", p.boot.Load()))
	case strings.Contains(command, "systemctl --no-block reboot"):
		p.boot.Add(1)
		return said("")
	case strings.Contains(command, "boot-mode"):
		return said("normal")
	case strings.Contains(command, "journalctl"):
		return said("a line")
	case strings.Contains(command, "well"):
		return said("yes")
	}
	return remotetest.Answer{Stderr: "not found", Status: 127}
}

func onPi(t *testing.T, p *pi, scenarios ...Scenario) DeviceOptions {
	t.Helper()
	server := remotetest.Start(t, p.run)
	d := remote.New(remote.Config{
		User: server.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(server.Client)},
		Addr: func(string, int) (string, error) { return server.Addr, nil },
	})
	t.Cleanup(d.Disconnect)
	return DeviceOptions{
		Target: d, Where: "cubeos@nest:22", Version: "1.2.3", Profile: "pios", Services: sampleServices(t),
		WorkDir: filepath.Join(t.TempDir(), "hardware"), Scenarios: scenarios, Named: func(string) bool { return false },
	}
}

func asks(name, command string) Check {
	return Check{Name: name, Asserts: "it says something", Bound: time.Minute, Ask: func(ctx context.Context, s *Subject) (string, error) {
		out, err := s.Run(ctx, command)
		if err != nil {
			return "", Final("%w", err)
		}
		return fmt.Sprintf("%s, past %t", out, s.FirstBootPast), nil
	}}
}

func needing(need Need, c Check) Check {
	c.Needs = need
	return c
}

func once(c Check) Check { c.Once = true; return c }

func restarts() Check {
	return once(Check{Name: "restarts", Asserts: "it does", Bound: time.Minute, Ask: func(ctx context.Context, s *Subject) (string, error) {
		return "restarted", s.Reboot(ctx)
	}})
}

// brokenIfAsked is a check that only an emulated device can be asked.
func brokenIfAsked(name string, need Need) Check {
	return needing(need, answersWith(name, errors.New("it was asked")))
}

func lifeOfADevice() []Scenario {
	return []Scenario{
		{Name: "life", About: "it lives", Harmless: true, Phases: []Phase{
			{Name: "up", Checks: []Check{brokenIfAsked("kernel", NeedConsole), asks("well", "echo well")}},
			{Name: "again", Checks: []Check{restarts(), asks("well", "echo well")}},
			{Name: "end", Checks: []Check{once(brokenIfAsked("off", NeedPower)), asks("well", "echo well")}},
		}},
		{Name: "changes", About: "it is changed", Phases: []Phase{{Name: "up", Checks: []Check{asks("well", "echo well")}}}},
		{Name: "cut", About: "its power goes", Harmless: true, Phases: []Phase{{Name: "cut", Checks: []Check{once(brokenIfAsked("cut", NeedPower)), asks("well", "echo well")}}}},
		{Name: "half", About: "it changes and its power goes", Phases: []Phase{
			{Name: "up", Checks: []Check{asks("well", "echo well")}},
			{Name: "cut", Checks: []Check{once(brokenIfAsked("cut", NeedPower))}},
		}},
		{Name: "small", About: "its card is small", Device: Device{CardSize: 1}, Phases: []Phase{{Name: "up", Checks: []Check{asks("well", "echo well")}}}},
	}
}

func TestOnDevice(t *testing.T) {
	p := &pi{list: servicesOfTheDevice}
	o := onPi(t, p, lifeOfADevice()...)
	report, err := OnDevice(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, sc := range report.Scenarios {
		for _, res := range sc.Results {
			got = append(got, fmt.Sprintf("%s/%s/%s %s %s", sc.Scenario, res.Phase, res.Check, res.Status, res.Seen+res.Why))
		}
	}
	want := []string{
		"life/up/kernel skipped it needs " + string(NeedConsole),
		"life/up/well ok yes, past true",
		"life/again/restarts ok restarted",
		"life/again/well ok yes, past true",
		"life/end/off skipped off needs " + string(NeedPower),
		"life/end/well skipped off needs " + string(NeedPower),
		"changes/up/well skipped it changes the device: -scenario=changes plays it",
		"cut/cut/cut skipped cut needs " + string(NeedPower),
		"cut/cut/well skipped cut needs " + string(NeedPower),
		"half/up/well skipped cut needs " + string(NeedPower),
		"half/cut/cut skipped cut needs " + string(NeedPower),
		"small/up/well skipped it needs a card of a size of its own",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for file, want := range map[string]string{
		"life/journal.txt": "==== again\na line",
		"report.json":      `"model": "Raspberry Pi 5 Model B Rev 1.0"`,
		"junit.xml":        `classname="hardware.life.again"`,
	} {
		b, err := os.ReadFile(filepath.Join(o.WorkDir, file))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s does not hold %q: %v\n%s", file, want, err, b)
		}
	}
	o.Named = func(name string) bool { return name == "changes" }
	o.Scenarios = o.Scenarios[1:2]
	if report, err = OnDevice(t.Context(), o); err != nil || report.Scenarios[0].Results[0].Status != Passed {
		t.Errorf("what was asked for by name: %v", err)
	}
	o.Named, o.Scenarios = func(string) bool { return true }, lifeOfADevice()[2:3]
	if _, err = OnDevice(t.Context(), o); err == nil || !strings.Contains(err.Error(), "cut: cannot be played: cut needs "+string(NeedPower)) {
		t.Errorf("nothing could be played: %v", err)
	}
}

func TestOnDeviceThatFails(t *testing.T) {
	bad := Scenario{Name: "bad", About: "it is bad", Harmless: true, Phases: []Phase{{Name: "up", Checks: []Check{asks("ill", "sick")}}}}
	o := onPi(t, &pi{list: servicesOfTheDevice}, append(lifeOfADevice(), bad)...)
	report, err := OnDevice(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "bad: up, ill: should be so: it says something") || !strings.Contains(err.Error(), "not found") {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "cannot be played") {
		t.Errorf("what cannot be played is told as if it were why: %v", err)
	}
	if report.Passed() || !report.Scenarios[0].Passed() {
		t.Error("not just the bad scenario failed")
	}
	if _, err := os.Stat(filepath.Join(o.WorkDir, "bad", "docker.txt")); err != nil {
		t.Errorf("no evidence of a failed scenario: %v", err)
	}
}

func TestADeviceIsWhatItIsToBeAskedAs(t *testing.T) {
	for _, tt := range []struct {
		name string
		list string
		edit func(*DeviceOptions)
		want []string
	}{
		{name: "another build", edit: func(o *DeviceOptions) { o.Version, o.Profile = "1.2.4", "lab" }, want: []string{"-version=1.2.3", "-profile=pios"}},
		{name: "other services", edit: func(o *DeviceOptions) { o.Services = append(o.Services, services.Service{Name: "two"}) }, want: []string{"it has the services one, and the profile has one, two"}},
		{name: "another port", list: strings.ReplaceAll(servicesOfTheDevice, "80", "81"), want: []string{"says otherwise of one"}},
		{name: "a list that nobody can read", list: `{"services": []}`, want: []string{"it lists no service"}},
		{name: "no list", list: ``, want: []string{"no list of services"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pi{list: servicesOfTheDevice}
			if tt.edit == nil {
				p.list = tt.list
			}
			o := onPi(t, p, lifeOfADevice()...)
			if tt.edit != nil {
				tt.edit(&o)
			}
			_, err := OnDevice(t.Context(), o)
			for _, want := range append(tt.want, "cubeos@nest:22 is not what it is to be asked as") {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
	o := onPi(t, &pi{}, lifeOfADevice()...)
	server := remotetest.Start(t, func(command string) remotetest.Answer {
		if strings.Contains(command, "cubeos-release") {
			return remotetest.Answer{Stderr: "sh: 2: .: cannot open /etc/cubeos-release", Status: 2}
		}
		return remotetest.Answer{}
	})
	o.Target = remote.New(remote.Config{
		User: server.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(server.Client)}, Addr: func(string, int) (string, error) { return server.Addr, nil },
	})
	if _, err := OnDevice(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is there CubeOS on it?") || strings.Contains(err.Error(), "jq") {
		t.Errorf("a device without CubeOS: %v", err)
	}
	server.LetsIn = remotetest.NewKey(t).PublicKey()
	server.Drop()
	if _, err := OnDevice(t.Context(), o); err == nil {
		t.Error("a connection that broke went unnoticed")
	}
	if _, err := OnDevice(t.Context(), o); err == nil || !strings.Contains(err.Error(), "cubeos@nest:22 can not be asked") || !strings.Contains(err.Error(), "logging in to the device as cubeos") {
		t.Errorf("a device that lets nobody in: %v", err)
	}
}

func TestHardwareReport(t *testing.T) {
	r := sample()
	r.Artifact, r.RawSHA256 = "", ""
	r.Hardware = &Hardware{Where: "cubeos@nest:22", Model: "Raspberry Pi 4 Model B Rev 1.4", MemoryMiB: 3791, Version: "1.2.3", Profile: "pios"}
	out := &Outcome{Scenario: "power-cut", About: "it is cut"}
	out.unavailable([]Phase{{Name: "cut", Checks: []Check{{Name: "cut"}}}}, "it needs a hand")
	r.Scenarios = append(r.Scenarios[1:], out)
	table := r.Table()
	for _, want := range []string{
		"Boot proof of CubeOS 1.2.3, profile pios\nHARDWARE: Raspberry Pi 4 Model B Rev 1.4, 3791 MiB memory, at cubeos@nest:22\nkernel: 6.18-v8\n",
		"power-cut   skipped  0 of 1  00:00  it needs a hand\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not hold %q:\n%s", want, table)
		}
	}
	if strings.Contains(table, "\npower-cut: it is cut") {
		t.Errorf("the checks of what cannot be played are told one by one:\n%s", table)
	}
	dir := t.TempDir()
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, &back); diff != "" {
		t.Errorf("report read back (-want +got):\n%s", diff)
	}
	if b, err = os.ReadFile(filepath.Join(dir, "junit.xml")); err != nil {
		t.Fatal(err)
	}
	var all junitSuites
	if err := xml.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	suite := all.Suites[0]
	want := []junitProperty{{"device", "cubeos@nest:22"}, {"model", "Raspberry Pi 4 Model B Rev 1.4"}, {"kernel", "6.18-v8"}, {"version", "1.2.3"}, {"profile", "pios"}}
	if diff := cmp.Diff(want, suite.Properties.All); diff != "" || all.Name != "boot proof on hardware" || suite.Name != "hardware: power-cuts" || suite.Cases[0].Class != "hardware.power-cuts.next boot" {
		t.Errorf("JUnit: %+v (-want +got):\n%s", all, diff)
	}
}
