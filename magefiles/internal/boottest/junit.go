package boottest

import (
	"encoding/xml"
	"fmt"
	"time"

	"github.com/google/renameio/v2"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string           `xml:"name,attr"`
	Tests      int              `xml:"tests,attr"`
	Failures   int              `xml:"failures,attr"`
	Skipped    int              `xml:"skipped,attr"`
	Time       string           `xml:"time,attr"`
	Stamp      string           `xml:"timestamp,attr"`
	Properties *junitProperties `xml:"properties"`
	Cases      []junitCase      `xml:"testcase"`
}

type junitProperties struct {
	All []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
	Skipped *junitSkipped `xml:"skipped"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitSkipped struct {
	Message string `xml:"message,attr,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes the report in the form that GitLab shows in a merge request:
// a suite a scenario, a case a check.
func (r *Report) writeJUnit(path string) error {
	all := r.all()
	suites := junitSuites{
		Name: "boot proof", Tests: len(all), Failures: count(all, Failed), Skipped: count(all, Skipped), Time: seconds(r.Took),
	}
	if r.Hardware != nil {
		suites.Name += " on hardware"
	}
	for _, o := range r.Scenarios {
		suite := o.junit()
		if r.Hardware != nil {
			r.Hardware.mark(&suite, r.Kernel.Own)
		}
		suites.Suites = append(suites.Suites, suite)
	}
	b, err := xml.MarshalIndent(suites, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append([]byte(xml.Header), append(b, '\n')...), 0o644)
}

func (o *Outcome) junit() junitSuite {
	all := o.all()
	suite := junitSuite{
		Name: o.Scenario, Tests: len(all), Failures: count(all, Failed), Skipped: count(all, Skipped),
		Time: seconds(o.Took), Stamp: o.Started.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, res := range all {
		c := junitCase{Class: o.Scenario + "." + res.Phase, Name: res.Check + ": " + res.Asserts, Time: seconds(res.Took), Out: res.Seen}
		switch res.Status {
		case Failed:
			c.Failure = &junitFailure{Message: shorten(res.Error), Text: res.Error}
		case Skipped:
			c.Skipped = &junitSkipped{Message: res.Why}
		}
		suite.Cases = append(suite.Cases, c)
	}
	return suite
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
