package boottest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/renameio/v2"
)

// Status is how a check ended.
type Status string

// A skipped check was not asked: one before it that it needs had failed, or it can
// not be asked of this device, and Result.Why says why.
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
	Why     string        `json:"why,omitempty"` // a skipped check can not be asked
	At      time.Duration `json:"at_ns"`         // since the machine was started, when the answer was there
	Took    time.Duration `json:"took_ns"`
}

// Outcome is what a scenario found out.
type Outcome struct {
	Scenario string        `json:"scenario"`
	About    string        `json:"about"`
	Machine  string        `json:"machine,omitempty"`
	Started  time.Time     `json:"started"`
	Took     time.Duration `json:"took_ns"`
	Results  []Result      `json:"results,omitempty"`
	Parts    []*Outcome    `json:"parts,omitempty"` // of a scenario of several devices
	// Unavailable says why the scenario cannot be played, which shows nothing then.
	Unavailable string `json:"unavailable,omitempty"`
	Reopen      string `json:"reopen,omitempty"` // how to open the machine again, if it failed
}

// broken writes down that a scenario could not even begin.
func (o *Outcome) broken(phases []Phase, err error) {
	o.Results = append(o.Results, Result{Phase: "start", Check: "device", Asserts: "there is a device to ask", Status: Failed, Error: err.Error()})
	o.skip(phases, "")
}

// unavailable writes down that a scenario cannot be played.
func (o *Outcome) unavailable(phases []Phase, why string) {
	o.Unavailable = why
	o.skip(phases, why)
}

func (o *Outcome) skip(phases []Phase, why string) {
	for _, p := range phases {
		for _, c := range p.Checks {
			o.Results = append(o.Results, Result{Phase: p.Name, Check: c.Name, Asserts: c.Asserts, Status: Skipped, Why: why})
		}
	}
}

// Passed reports whether every check passed that can be asked, and that there was
// one.
func (o *Outcome) Passed() bool {
	all := o.all()
	return count(all, Passed) > 0 && !slices.ContainsFunc(all, func(r Result) bool { return r.Status != Passed && r.Why == "" })
}

// all returns the results of the scenario and its parts.
func (o *Outcome) all() []Result {
	all := slices.Clone(o.Results)
	for _, p := range o.Parts {
		all = append(all, p.all()...)
	}
	return all
}

// Report is what a proof found out.
type Report struct {
	Artifact  string        `json:"artifact,omitempty"`
	RawSHA256 string        `json:"raw_sha256,omitempty"`
	Kernel    KernelReport  `json:"kernel"`
	Hardware  *Hardware     `json:"hardware,omitempty"` // nil if it was emulated
	Started   time.Time     `json:"started"`
	Took      time.Duration `json:"took_ns"` // unpacking not counted
	Scenarios []*Outcome    `json:"scenarios"`
}

// Passed reports whether every scenario passed that this host can play, and that
// there was one.
func (r *Report) Passed() bool {
	return slices.ContainsFunc(r.Scenarios, (*Outcome).Passed) &&
		!slices.ContainsFunc(r.Scenarios, func(o *Outcome) bool { return !o.Passed() && o.Unavailable == "" })
}

func (r *Report) all() (all []Result) {
	for _, o := range r.Scenarios {
		all = append(all, o.all()...)
	}
	return all
}

func count(results []Result, s Status) (n int) {
	for _, res := range results {
		if res.Status == s {
			n++
		}
	}
	return n
}

// Table renders the report for people.
func (r *Report) Table() string {
	var b strings.Builder
	if r.Hardware != nil {
		r.Hardware.table(&b, r.Kernel.Own)
	} else {
		fmt.Fprintf(&b, "Boot proof of %s\nraw image sha256 %s\nkernel: %s\n", r.Artifact, r.RawSHA256, r.Kernel)
	}
	for _, o := range r.Scenarios {
		if o.Unavailable == "" || len(r.Scenarios) == 1 { // the summary has the others
			o.table(&b)
		}
	}
	if len(r.Scenarios) > 1 {
		r.summary(&b)
	}
	fmt.Fprintf(&b, "\n%s\n", r.Counts())
	return b.String()
}

// Counts says how many checks ended in which way.
func (r *Report) Counts() string {
	all := r.all()
	return fmt.Sprintf("%d passed, %d failed, %d skipped in %s", count(all, Passed), count(all, Failed), count(all, Skipped), clock(r.Took))
}

func (r *Report) summary(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nSCENARIO\tRESULT\tCHECKS\tTOOK\tWHAT IT SHOWS")
	for _, o := range r.Scenarios {
		result, all := Passed, o.all()
		about := o.About
		switch {
		case o.Unavailable != "":
			result, about = Skipped, o.Unavailable
		case !o.Passed():
			result = Failed
		}
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%s\n", o.Scenario, result, count(all, Passed), len(all), clock(o.Took), about)
	}
	_ = w.Flush() // a strings.Builder takes everything
}

func (o *Outcome) table(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s: %s\n%s\n\n", o.Scenario, o.About, cmp.Or(o.Unavailable, o.Machine))
	if len(o.Results) > 0 {
		w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "PHASE\tCHECK\tRESULT\tAT\tTOOK\tSEEN")
		phase := ""
		for _, res := range o.Results {
			first := res.Phase
			if first == phase {
				first = ""
			}
			phase = res.Phase
			at, took, seen := clock(res.At), fmt.Sprintf("%.1fs", res.Took.Seconds()), shorten(res.Seen)
			switch res.Status {
			case Skipped:
				at, took, seen = "", "", shorten(res.Why)
			case Failed:
				seen = shorten(res.Error)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", first, res.Check, res.Status, at, took, seen)
		}
		_ = w.Flush() // a strings.Builder takes everything
	}
	for _, p := range o.Parts {
		p.table(b)
	}
}

// Failures describes every failed check in full, and how to open the machines.
func (r *Report) Failures() string {
	var b strings.Builder
	failed := count(r.all(), Failed) > 0
	for _, o := range r.Scenarios {
		if failed && o.Unavailable != "" {
			continue // that is not why
		}
		o.failures(&b)
	}
	return b.String()
}

func (o *Outcome) failures(b *strings.Builder) {
	for _, res := range o.Results {
		if res.Status == Failed {
			fmt.Fprintf(b, "%s: %s, %s: should be so: %s\n  but: %s\n", o.Scenario, res.Phase, res.Check, res.Asserts, strings.ReplaceAll(res.Error, "\n", "\n  "))
		}
	}
	if o.Unavailable != "" {
		fmt.Fprintf(b, "%s: cannot be played: %s\n", o.Scenario, o.Unavailable)
	}
	if o.Reopen != "" {
		fmt.Fprintln(b, o.Reopen)
	}
	for _, p := range o.Parts {
		p.failures(b)
	}
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

const reportFile = "report.json"

// ReadReport returns the report of the proof that worked in dir.
func ReadReport(dir string) (*Report, error) {
	content, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil {
		return nil, fmt.Errorf("reading the report of the boot proof: %w", err)
	}
	r := new(Report)
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("reading %s in %s: %w", reportFile, dir, err)
	}
	return r, nil
}

func (r *Report) save(dir string) error {
	return errors.Join(r.writeJSON(filepath.Join(dir, reportFile)), r.writeJUnit(filepath.Join(dir, "junit.xml")))
}

func (r *Report) writeJSON(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(b, '\n'), 0o644)
}
