package packer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// output takes in what Packer prints with -machine-readable, keeps it in a log
// as text, and shows how far it is.
type output struct {
	log   *os.File
	debug *os.File // what Packer logs for its own developers
	show  *progress.Reporter
	again string

	partial []byte
	steps   []step // of the recipe, in order
	begun   int    // how many of them
	task    *progress.Task
	tail    []string // the last lines since the step began
	errors  []string // what went wrong outside of provisioners
	failed  string   // why the current step did
	full    bool     // a disk is
	stopped bool     // somebody asked Packer to
}

// step is what Packer announces with one line: a script or a copied source.
type step struct {
	recipe.Provisioner
	title string
}

func steps(provisioners []recipe.Provisioner) []step {
	var list []step
	for i, p := range provisioners {
		s := step{p, fmt.Sprintf("provisioner %d of %d, %s", i+1, len(provisioners), p.Label())}
		for range max(len(p.Scripts), len(p.Sources), 1) {
			list = append(list, s)
		}
	}
	return list
}

func newOutput(job build.Job, show *progress.Reporter) (*output, error) {
	if err := os.MkdirAll(job.LogDir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(job.LogDir, "packer.log"))
	if err != nil {
		return nil, err
	}
	debug, err := os.Create(filepath.Join(job.LogDir, "packer-debug.log"))
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	o := &output{log: log, debug: debug, show: show, again: job.Again, steps: steps(job.Recipe.Provisioners)}
	o.stage("starting Packer")
	return o, nil
}

func (o *output) Close() error {
	o.task.End()
	var err error
	if len(o.partial) > 0 {
		err = o.line(string(o.partial))
	}
	return errors.Join(err, o.log.Close(), o.debug.Close())
}

// Write takes any part of the output.
func (o *output) Write(p []byte) (int, error) {
	o.partial = append(o.partial, p...)
	for {
		line, rest, ok := bytes.Cut(o.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		text := string(line)
		o.partial = rest
		if err := o.line(text); err != nil {
			return 0, err
		}
	}
}

// line takes TIME,TARGET,TYPE,DATA…, or a line of something other than Packer.
func (o *output) line(line string) error {
	line = strings.TrimSuffix(line, "\r")
	kind, text := "say", line
	if fields := strings.Split(line, ","); len(fields) >= 4 && isNumber(fields[0]) {
		if fields[2] != "ui" || len(fields) < 5 {
			return nil // for programs, and told in words elsewhere
		}
		kind, text = fields[3], unescape(strings.Join(fields[4:], ","))
	}
	if _, err := io.WriteString(o.log, text+"\n"); err != nil {
		return err
	}
	for part := range strings.Lines(text) {
		o.understand(kind, withoutTarget(strings.TrimRight(part, "\n")))
	}
	return nil
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// unescape undoes what Packer does to text in a line of fields.
func unescape(s string) string {
	return strings.NewReplacer("%!(PACKER_COMMA)", ",", `\n`, "\n", `\r`, "\r").Replace(s)
}

// withoutTarget cuts off "==> arm.cubeos: ", and the blanks that stand for it.
func withoutTarget(s string) string {
	for _, arrow := range []string{"==> ", "    "} {
		rest, ok := strings.CutPrefix(s, arrow)
		if !ok {
			continue
		}
		// Of an empty line only the colon is left.
		if target, text, ok := strings.Cut(rest+" ", ": "); ok && !strings.ContainsAny(target, " \t") {
			return strings.TrimSuffix(text, " ")
		}
	}
	return s
}

// hookFailed begins the builder's report of a failed provisioner; what follows
// is the builder clearing up.
const hookFailed = "error while running provision hook: "

func (o *output) understand(kind, text string) {
	o.full = o.full || strings.Contains(strings.ToLower(text), "no space left on device")
	o.stopped = o.stopped || strings.HasPrefix(text, "Cancelling build after receiving ")
	if o.failed != "" {
		return
	}
	if reason, ok := strings.CutPrefix(text, hookFailed); ok && o.begun > 0 {
		o.failed = reason
		o.stage("clearing up")
		return
	}
	if title := o.announced(text); title != "" {
		o.stage(title)
		return
	}
	if text == "" {
		return
	}
	o.task.Note(text)
	o.tail = lastOf(append(o.tail, text), 25)
	if kind == "error" && o.begun == 0 {
		o.errors = lastOf(append(o.errors, text), 25)
	}
}

// announced returns the title of what a line says begins now.
func (o *output) announced(text string) string {
	if o.begun < len(o.steps) && strings.HasPrefix(text, announcement(o.steps[o.begun])) {
		s := o.steps[o.begun]
		o.begun++
		o.show.Printf("%s", s.title)
		return s.title
	}
	for _, a := range announcements() {
		if o.begun == a.after*len(o.steps) && strings.HasPrefix(text, a.prefix) {
			return a.title
		}
	}
	return ""
}

// announcement is how Packer begins to tell of a step.
func announcement(s step) string {
	if s.Type == recipe.File {
		return "Uploading "
	}
	return "Provisioning with shell script: "
}

// announcements are what the builder says before all provisioners (after 0)
// and after them (after 1).
func announcements() []struct {
	prefix, title string
	after         int
} {
	return []struct {
		prefix, title string
		after         int
	}{
		{"Retrieving rootfs_archive", "checking the base image", 0},
		{"using raw image", "copying the base image", 0},
		{"unpacking ", "unpacking the base image", 0},
		{"resizing the image file", "growing the image", 0},
		{"mapping image", "attaching the image", 0},
		{"running resize2fs", "growing the root file system", 0},
		{"mounting ", "mounting the image", 0},
		{"unmounting ", "unmounting the image", 1},
	}
}

func (o *output) stage(title string) {
	if o.task != nil {
		o.task.End()
	}
	o.task = o.show.Task(title, 0)
	if o.failed == "" {
		o.tail = nil
	}
}

func lastOf(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

// failure is the error of a Packer that ended with a status other than 0.
func (o *output) failure(status int64) error {
	if o.stopped {
		return o.interference(status)
	}
	retry := "once it is fixed: " + o.again
	if o.full {
		retry = "a disk is full: that of the build directory, or the Docker daemon's (`docker system df`); once there is room: " + o.again
	}
	if o.failed != "" {
		s := o.steps[o.begun-1]
		return fmt.Errorf("%s (%s) failed: %s; its last lines:\n%s%s\n%s (Packer starts from the beginning; the embedded engine goes on from the provisioner that failed)",
			s.title, s.Range, o.failed, strings.Join(o.tail, "\n"), o.whereabouts(), retry)
	}
	lines := o.errors
	if len(lines) == 0 {
		lines = o.tail
	}
	return fmt.Errorf("running Packer: it failed with exit status %d:\n%s%s\n%s", status, strings.Join(lines, "\n"), o.whereabouts(), retry)
}

// interference is the error of a Packer that somebody else ended.
func (o *output) interference(status int64) error {
	return fmt.Errorf("the builder's container was stopped from outside (status %d)%s\nif nobody did that, see the Docker daemon's log: `journalctl -u docker`", status, o.whereabouts())
}

func (o *output) whereabouts() string { return "\nall it printed is in " + o.log.Name() }
