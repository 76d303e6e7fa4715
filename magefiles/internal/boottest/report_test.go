package boottest

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() *Report {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &Report{
		Artifact: "cubeos-1-arm64.img.xz", RawSHA256: "abc", Kernel: KernelReport{Own: "6.18-v8"}, Started: began, Took: 800 * time.Second,
		Scenarios: []*Outcome{
			{
				Scenario: "operational", About: "it boots", Machine: "QEMU virt (tcg), 2 CPUs", Started: began, Took: 754 * time.Second,
				Results: []Result{
					{Phase: "first boot", Check: "kernel starts", Asserts: "it prints", Status: Passed, Seen: "on the console", At: 2 * time.Second, Took: 1900 * time.Millisecond},
					{Phase: "first boot", Check: "Swarm", Asserts: "it is active", Status: Failed, Error: "it says \"inactive\"\nsecond <line>", At: 700 * time.Second, Took: 300 * time.Second},
					{Phase: "reboot", Check: "restarts", Asserts: "it comes up again", Status: Skipped},
				},
				Reopen: "cd machine && qemu",
			},
			{
				Scenario: "power-cuts", About: "it is cut", Machine: "QEMU virt (tcg), 2 CPUs", Started: began, Took: 46 * time.Second,
				Parts: []*Outcome{{
					Scenario: "power-cuts-01", About: "cut at 3 s", Machine: "QEMU virt (tcg), 2 CPUs", Started: began, Took: 40 * time.Second,
					Results: []Result{{Phase: "next boot", Check: "SSH", Asserts: "it answers", Status: Passed, Seen: "Debian", At: 9 * time.Second, Took: time.Second}},
				}},
			},
		},
	}
}

func TestTable(t *testing.T) {
	const want = `Boot proof of cubeos-1-arm64.img.xz
raw image sha256 abc
kernel: the image's own, 6.18-v8

operational: it boots
QEMU virt (tcg), 2 CPUs

PHASE       CHECK          RESULT   AT     TOOK    SEEN
first boot  kernel starts  ok       00:02  1.9s    on the console
            Swarm          FAILED   11:40  300.0s  it says "inactive"
reboot      restarts       skipped                 

power-cuts: it is cut
QEMU virt (tcg), 2 CPUs


power-cuts-01: cut at 3 s
QEMU virt (tcg), 2 CPUs

PHASE      CHECK  RESULT  AT     TOOK  SEEN
next boot  SSH    ok      00:09  1.0s  Debian

SCENARIO     RESULT  CHECKS  TOOK   WHAT IT SHOWS
operational  FAILED  1 of 3  12:34  it boots
power-cuts   ok      1 of 1  00:46  it is cut

2 passed, 1 failed, 1 skipped in 13:20
`
	r := sample()
	if diff := cmp.Diff(want, r.Table()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	const failures = "operational: first boot, Swarm: should be so: it is active\n  but: it says \"inactive\"\n  second <line>\ncd machine && qemu\n"
	if diff := cmp.Diff(failures, r.Failures()); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

func TestPassed(t *testing.T) {
	r := sample()
	if r.Passed() {
		t.Error("a report with a failure passed")
	}
	cuts := r.Scenarios[1]
	if r.Scenarios = []*Outcome{cuts}; !r.Passed() {
		t.Error("a report with nothing but successes did not pass")
	}
	cuts.Parts[0].Results[0].Status = Skipped
	if r.Passed() {
		t.Error("a report with a skipped check passed")
	}
	cuts.Parts = nil
	if r.Passed() {
		t.Error("a scenario without a check passed")
	}
	if (&Report{}).Passed() {
		t.Error("a report without a scenario passed")
	}
}

func TestUnavailable(t *testing.T) {
	out := &Outcome{Scenario: "raspi4b", About: "it boots on a Pi"}
	out.unavailable([]Phase{{Name: "first boot", Checks: []Check{{Name: "a"}}}}, "there is none")
	r := sample()
	r.Scenarios = []*Outcome{out}
	if r.Passed() || !strings.Contains(r.Failures(), "raspi4b: cannot be played: there is none") {
		t.Errorf("a report with nothing that could be played: passed %v, %q", r.Passed(), r.Failures())
	}
	r.Scenarios = append(r.Scenarios, sample().Scenarios[1])
	if !r.Passed() {
		t.Error("a scenario that this host cannot play made the others fail")
	}
	if table := r.Table(); !strings.Contains(table, "raspi4b     skipped  0 of 1  00:00  there is none") {
		t.Errorf("the table does not say that it was skipped, and why:\n%s", table)
	}
	if suite := out.junit(); suite.Skipped != 1 || suite.Cases[0].Skipped.Message != "there is none" {
		t.Errorf("JUnit: %+v", suite)
	}
}

func TestBroken(t *testing.T) {
	var o Outcome
	o.broken([]Phase{{Name: "first boot", Checks: []Check{{Name: "a"}, {Name: "b"}}}}, errors.New("no room"))
	if o.Passed() || len(o.Results) != 3 || o.Results[0].Error != "no room" || o.Results[2].Status != Skipped {
		t.Errorf("got %+v", o.Results)
	}
}

func TestReportFiles(t *testing.T) {
	dir := t.TempDir()
	r := sample()
	if err := r.writeJSON(filepath.Join(dir, "report.json")); err != nil {
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

	if err := r.writeJUnit(filepath.Join(dir, "junit.xml")); err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(filepath.Join(dir, "junit.xml")); err != nil {
		t.Fatal(err)
	}
	var all junitSuites
	if err := xml.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if all.Tests != 4 || all.Failures != 1 || all.Skipped != 1 || len(all.Suites) != 2 || len(all.Suites[1].Cases) != 1 {
		t.Errorf("the suites count %+v", all)
	}
	cases := all.Suites[0].Cases
	if f := cases[1].Failure; f == nil || !strings.Contains(f.Text, "second <line>") || cases[0].Failure != nil || cases[2].Skipped == nil {
		t.Errorf("the cases are %+v", cases)
	}
}
