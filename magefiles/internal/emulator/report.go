package emulator

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// Status is how a check ended.
type Status string

// A skipped check was not asked: one before it that it needs had failed.
const (
	Passed  Status = "ok"
	Failed  Status = "FAILED"
	Skipped Status = "skipped"
)

// Result is one line of the table.
type Result struct {
	Phase   string        `json:"phase"`
	Check   string        `json:"check"`
	Asserts string        `json:"asserts"`
	Status  Status        `json:"status"`
	Seen    string        `json:"seen,omitempty"`
	Error   string        `json:"error,omitempty"`
	At      time.Duration `json:"at_ns"` // since the machine was started, when the answer was there
	Took    time.Duration `json:"took_ns"`
}

// Report is what a proof found out.
type Report struct {
	Artifact  string        `json:"artifact"`
	RawSHA256 string        `json:"raw_sha256"`
	Machine   string        `json:"machine"`
	Started   time.Time     `json:"started"`
	Took      time.Duration `json:"took_ns"` // of the machine's life, unpacking not counted
	Results   []Result      `json:"results"`
}

// Passed reports whether every check passed.
func (r *Report) Passed() bool { return len(r.Results) > 0 && r.count(Passed) == len(r.Results) }

func (r *Report) count(s Status) (n int) {
	for _, res := range r.Results {
		if res.Status == s {
			n++
		}
	}
	return n
}

// Table renders the report for people.
func (r *Report) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Boot proof of %s\nraw image sha256 %s\n%s\n\n", r.Artifact, r.RawSHA256, r.Machine)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PHASE\tCHECK\tRESULT\tAT\tTOOK\tSEEN")
	phase := ""
	for _, res := range r.Results {
		first := res.Phase
		if first == phase {
			first = ""
		}
		phase = res.Phase
		at, took, seen := clock(res.At), fmt.Sprintf("%.1fs", res.Took.Seconds()), res.Seen
		switch res.Status {
		case Skipped:
			at, took = "", ""
		case Failed:
			seen = shorten(res.Error)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", first, res.Check, res.Status, at, took, seen)
	}
	_ = w.Flush() // a strings.Builder takes everything
	fmt.Fprintf(&b, "\n%d passed, %d failed, %d skipped in %s\n", r.count(Passed), r.count(Failed), r.count(Skipped), clock(r.Took))
	return b.String()
}

// Failures describes every failed check in full.
func (r *Report) Failures() string {
	var b strings.Builder
	for _, res := range r.Results {
		if res.Status == Failed {
			fmt.Fprintf(&b, "%s, %s: should be so: %s\n  but: %s\n", res.Phase, res.Check, res.Asserts, strings.ReplaceAll(res.Error, "\n", "\n  "))
		}
	}
	return b.String()
}

func shorten(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if r := []rune(s); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return s
}

func clock(d time.Duration) string {
	d = d.Round(time.Second)
	return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

func (r *Report) save(dir string) error {
	return errors.Join(r.writeJSON(filepath.Join(dir, "report.json")), r.writeJUnit(filepath.Join(dir, "junit.xml")))
}

func (r *Report) writeJSON(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(b, '\n'))
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Stamp    string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
	Skipped *struct{}     `xml:"skipped"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes the report in the form that GitLab shows in a merge request.
func (r *Report) writeJUnit(path string) error {
	suite := junitSuite{
		Name: "boot proof", Tests: len(r.Results), Failures: r.count(Failed), Skipped: r.count(Skipped),
		Time: seconds(r.Took), Stamp: r.Started.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, res := range r.Results {
		c := junitCase{Class: res.Phase, Name: res.Check + ": " + res.Asserts, Time: seconds(res.Took), Out: res.Seen}
		switch res.Status {
		case Failed:
			c.Failure = &junitFailure{Message: shorten(res.Error), Text: res.Error}
		case Skipped:
			c.Skipped = &struct{}{}
		}
		suite.Cases = append(suite.Cases, c)
	}
	b, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append([]byte(xml.Header), append(b, '\n')...))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func writeFile(path string, b []byte) error {
	partial := path + ".partial"
	if err := os.WriteFile(partial, b, 0o644); err != nil {
		return err
	}
	return os.Rename(partial, path)
}
