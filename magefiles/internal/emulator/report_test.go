package emulator

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() *Report {
	return &Report{
		Artifact: "cubeos-1-arm64.img.xz", RawSHA256: "abc", Machine: "QEMU virt (tcg), 2 CPUs",
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: 754 * time.Second,
		Results: []Result{
			{Phase: "first boot", Check: "kernel starts", Asserts: "it prints", Status: Passed, Seen: "on the console", At: 2 * time.Second, Took: 1900 * time.Millisecond},
			{Phase: "first boot", Check: "Swarm", Asserts: "it is active", Status: Failed, Error: "it says \"inactive\"\nsecond <line>", At: 700 * time.Second, Took: 300 * time.Second},
			{Phase: "reboot", Check: "restarts", Asserts: "it comes up again", Status: Skipped},
		},
	}
}

func TestTable(t *testing.T) {
	const want = `Boot proof of cubeos-1-arm64.img.xz
raw image sha256 abc
QEMU virt (tcg), 2 CPUs

PHASE       CHECK          RESULT   AT     TOOK    SEEN
first boot  kernel starts  ok       00:02  1.9s    on the console
            Swarm          FAILED   11:40  300.0s  it says "inactive"
reboot      restarts       skipped                 

1 passed, 1 failed, 1 skipped in 12:34
`
	r := sample()
	if diff := cmp.Diff(want, r.Table()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	const failures = "first boot, Swarm: should be so: it is active\n  but: it says \"inactive\"\n  second <line>\n"
	if diff := cmp.Diff(failures, r.Failures()); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

func TestPassed(t *testing.T) {
	r := sample()
	if r.Passed() {
		t.Error("a report with a failure passed")
	}
	r.Results = []Result{r.Results[0], r.Results[2]}
	if r.Passed() {
		t.Error("a report with a skipped check passed")
	}
	if r.Results = r.Results[:1]; !r.Passed() {
		t.Error("a report with nothing but successes did not pass")
	}
	if (&Report{}).Passed() {
		t.Error("a report without a check passed")
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
	var suite junitSuite
	if err := xml.Unmarshal(b, &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != 3 || suite.Failures != 1 || suite.Skipped != 1 || len(suite.Cases) != 3 {
		t.Errorf("the suite counts %+v", suite)
	}
	if f := suite.Cases[1].Failure; f == nil || !strings.Contains(f.Text, "second <line>") || suite.Cases[0].Failure != nil || suite.Cases[2].Skipped == nil {
		t.Errorf("the cases are %+v", suite.Cases)
	}
}
