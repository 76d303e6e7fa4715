// Package stage runs the steps of a build so that a step whose inputs and
// outputs are unchanged is not run again.
package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/google/renameio/v2"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Stage is one step of a build.
type Stage struct {
	Name    string
	Inputs  map[string]string // what the outcome depends on → its digest or value
	Outputs []string          // the files that exist when it has succeeded
	Run     func(context.Context) error
}

// Runner runs stages and keeps a stamp of each in Dir.
type Runner struct {
	Dir string
	Log *progress.Reporter
}

type stamp struct {
	Inputs  map[string]string `json:"inputs"`
	Outputs []output          `json:"outputs"`
}

type output struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime"`
	SHA256  string    `json:"sha256"`
}

// Do runs s unless its stamp says that it has run on these inputs and its
// outputs are still what they were. It reports which, and why.
func (r Runner) Do(ctx context.Context, s Stage) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	reason := r.stale(s)
	if reason == "" {
		r.Log.Printf("%s: up to date", s.Name)
		return nil
	}
	r.Log.Printf("%s: running, %s", s.Name, reason)
	start := time.Now()
	ctx, span := timing.Start(ctx, "stage "+s.Name)
	defer span.End()
	if err := os.Remove(r.stampFile(s)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting the last run of stage %s: %w", s.Name, err)
	}
	if err := s.Run(ctx); err != nil {
		return fmt.Errorf("stage %s: %w", s.Name, err)
	}
	if err := r.write(ctx, s); err != nil {
		return fmt.Errorf("stage %s: recording what it made: %w", s.Name, err)
	}
	r.Log.Printf("%s: done in %s", s.Name, units.HumanDuration(time.Since(start)))
	return nil
}

// Forget makes the named stage run the next time.
func (r Runner) Forget(name string) error {
	err := os.Remove(r.stampFile(Stage{Name: name}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Digest returns the lower-case hex sha256 of an output of the named stage. The
// file is read only if it is not as the stage's last run left it.
func (r Runner) Digest(name, path string) (string, error) {
	var last stamp
	if raw, err := os.ReadFile(r.stampFile(Stage{Name: name})); err == nil && json.Unmarshal(raw, &last) == nil {
		for _, o := range last.Outputs {
			if o.Path == path && o.untouched() {
				return o.SHA256, nil
			}
		}
	}
	return FileDigest(path)
}

// stale says why s has to run, "" if it has not.
func (r Runner) stale(s Stage) string {
	raw, err := os.ReadFile(r.stampFile(s))
	if errors.Is(err, fs.ErrNotExist) {
		return "not run before"
	}
	var last stamp
	if err != nil || json.Unmarshal(raw, &last) != nil {
		return "the record of its last run is unreadable"
	}
	if diff := changed(last.Inputs, s.Inputs); len(diff) > 0 {
		return "changed: " + strings.Join(diff, ", ")
	}
	for _, path := range s.Outputs {
		i := slices.IndexFunc(last.Outputs, func(o output) bool { return o.Path == path })
		if i < 0 {
			return "it now makes " + filepath.Base(path)
		}
		if why := last.Outputs[i].differs(); why != "" {
			return filepath.Base(path) + " " + why
		}
	}
	return ""
}

func changed(last, now map[string]string) []string {
	var diff []string
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if v, ok := last[k]; !ok || v != now[k] {
			diff = append(diff, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(last)) {
		if _, ok := now[k]; !ok {
			diff = append(diff, k)
		}
	}
	return diff
}

// differs reads the file again only if its size or time has changed.
func (o output) differs() string {
	info, err := os.Stat(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return "is missing"
	}
	if err != nil {
		return "cannot be read"
	}
	if info.Size() != o.Size {
		return "has another size"
	}
	if o.untouched() {
		return ""
	}
	if sum, err := FileDigest(o.Path); err != nil || sum != o.SHA256 {
		return "has other contents"
	}
	return ""
}

func (o output) untouched() bool {
	info, err := os.Stat(o.Path)
	return err == nil && info.Size() == o.Size && info.ModTime().Equal(o.ModTime)
}

func (r Runner) write(ctx context.Context, s Stage) error {
	st := stamp{Inputs: s.Inputs}
	for _, path := range s.Outputs {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		sum, err := FileDigest(path)
		if err != nil {
			return err
		}
		st.Outputs = append(st.Outputs, output{path, info.Size(), info.ModTime(), sum})
	}
	raw, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(r.stampFile(s), append(raw, '\n'), 0o644)
}

func (r Runner) stampFile(s Stage) string {
	return filepath.Join(r.Dir, s.Name+".json")
}

// FileDigest returns the lower-case hex sha256 of the file's contents.
func FileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
