package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/google/renameio/v2"

	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Report is what a run found.
type Report struct {
	Profile   string        `json:"profile"`
	Commit    string        `json:"commit"` // as git describes it
	Machine   Machine       `json:"machine"`
	Started   time.Time     `json:"started"`
	Took      time.Duration `json:"took"`
	Rows      []Row         `json:"rows,omitempty"`
	Curves    []Curve       `json:"curves,omitempty"`
	ColdBuild *timing.Span  `json:"cold_build,omitempty"`
}

// Row is two measurements and their ratio.
type Row struct {
	What      string   `json:"what"`
	Measured  Quantity `json:"measured"`
	Reference string   `json:"reference"`
	Other     Quantity `json:"other"`
	Ratio     float64  `json:"ratio"`
	Target    float64  `json:"target,omitempty"` // at most; 0 where there is none
	Runs      int      `json:"runs"`             // Measured is their median
}

// Quantity is a number with its unit.
type Quantity struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // s or B
}

func seconds(d time.Duration) Quantity { return Quantity{d.Seconds(), "s"} }

func bytesOf(n int64) Quantity { return Quantity{float64(n), "B"} }

func (q Quantity) String() string {
	if q.Unit == "B" {
		return units.HumanSizeWithPrecision(q.Value, 3)
	}
	switch {
	case q.Value < 0.001:
		return fmt.Sprintf("%.3g µs", q.Value*1e6)
	case q.Value < 1:
		return fmt.Sprintf("%.3g ms", q.Value*1e3)
	}
	return fmt.Sprintf("%.1f s", q.Value)
}

func (r *Report) add(rows ...Row) {
	for _, row := range rows {
		row.Ratio = row.Measured.Value / row.Other.Value
		row.Runs = max(1, row.Runs)
		r.Rows = append(r.Rows, row)
	}
}

// Write saves the report as JSON.
func (r Report) Write(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(raw, '\n'), 0o644)
}

// Markdown renders the report for people. Of a report with nothing in it there
// is nothing to tell.
func (r Report) Markdown() string {
	if r.Rows == nil && r.Curves == nil && r.ColdBuild == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Profile %s at %s, on %s.\n", r.Profile, r.Commit, r.Machine)
	b.WriteString("The page cache is warm: each thing was written or read just before it was measured. Only the cold build downloads from the mirror.\n")
	r.rows(&b)
	r.curves(&b)
	r.costs(&b)
	return b.String()
}

func (r Report) rows(b *strings.Builder) {
	if len(r.Rows) == 0 {
		return
	}
	t := table{{"what", "measured", "compared with", "", "ratio", "target", "", "runs"}}
	for _, row := range r.Rows {
		target, met := "", ""
		if row.Target > 0 {
			target = fmt.Sprintf("≤ %.3g", row.Target)
			met = "met"
			if row.Ratio > row.Target {
				met = "missed"
			}
		}
		t = append(t, []string{row.What, row.Measured.String(), row.Reference, row.Other.String(),
			fmt.Sprintf("%.3f", row.Ratio), target, met, fmt.Sprint(row.Runs)})
	}
	t.write(b)
}

func (r Report) curves(b *strings.Builder) {
	if len(r.Curves) == 0 {
		return
	}
	b.WriteString("\nCost as the tree grows. The exponent is the slope of a line through the logarithms: 1 is in proportion to the tree.\n")
	head := []string{"step"}
	for _, p := range r.Curves[0].Points {
		head = append(head, fmt.Sprintf("%d files, %s", p.Files, units.HumanSizeWithPrecision(float64(p.Bytes), 3)))
	}
	t := table{append(head, "exponent")}
	for _, c := range r.Curves {
		row := []string{c.Step}
		for _, p := range c.Points {
			row = append(row, seconds(p.Took).String())
		}
		t = append(t, append(row, fmt.Sprintf("%.2f", c.Exponent)))
	}
	t.write(b)
}

// Less than this share of a cold build is not listed on its own.
const smallestShare = 0.005

func (r Report) costs(b *strings.Builder) {
	if r.ColdBuild == nil {
		return
	}
	whole := r.ColdBuild.Wall
	fmt.Fprintf(b, "\nWhat a cold build of %s is spent on. CPU is that of the programs run.\n", seconds(whole))
	t := table{{"step", "time", "share", "CPU"}}
	rest := timing.Cost{Path: []string{"all that takes less"}}
	line := func(c timing.Cost) {
		name := strings.Join(c.Path, " › ")
		if c.Times > 1 {
			name += fmt.Sprintf(" (%d times)", c.Times)
		}
		t = append(t, []string{name, seconds(c.Wall).String(),
			fmt.Sprintf("%.1f %%", 100*c.Wall.Seconds()/whole.Seconds()), seconds(c.CPU).String()})
	}
	for _, c := range r.ColdBuild.Costs() {
		if c.Wall.Seconds() < smallestShare*whole.Seconds() {
			rest.Wall += c.Wall
			rest.CPU += c.CPU
			continue
		}
		if c.Path == nil {
			c.Path = []string{"between the steps"}
		}
		line(c)
	}
	line(rest)
	t.write(b)
}

// table is rows of cells, the head first.
type table [][]string

// write renders the table so that it reads well unrendered, too.
func (t table) write(b *strings.Builder) {
	width := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	rule := make([]string, len(width))
	for i, w := range width {
		rule[i] = strings.Repeat("-", w)
	}
	b.WriteByte('\n')
	for i, row := range t {
		writeRow(b, row, width)
		if i == 0 {
			writeRow(b, rule, width)
		}
	}
}

func writeRow(b *strings.Builder, row []string, width []int) {
	for i, cell := range row {
		fmt.Fprintf(b, "| %-*s ", width[i], cell)
	}
	b.WriteString("|\n")
}
