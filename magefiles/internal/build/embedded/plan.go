package embedded

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// formatVersion is part of every layer's key. It changes with anything in this
// program that changes what a provisioner makes of the same inputs.
const formatVersion = "2"

// hostname is what a provisioner sees as the name of the machine.
const hostname = "localhost"

// step is a provisioner with what running it means.
type step struct {
	recipe.Provisioner
	own     string // digest of all that running it on a given root file system depends on
	logName string
	runs    []chroot.Step
}

func baseKey(img baseimage.Image) string { return digest("base", formatVersion, img.SHA256) }

// key names the layer that s makes on top of one whose key and identity are
// given. The identity is in it because a layer that was lost is made again with
// the packages of that day, and what was made on top of the old one does not
// fit the new one.
//
// Whether native programs are used is not in the key: that they change nothing
// is proven by comparing what both ways make.
func (s step) key(below, identity string) string { return digest(below, identity, s.own) }

// environment is that of every provisioner, before its own variables.
func environment(job build.Job) []string {
	return append([]string{"HOME=/root"}, job.Recipe.Source.ChrootEnv...)
}

// Inputs names everything the job's image depends on, with its digest.
func Inputs(job build.Job) (map[string]string, error) {
	steps, err := plan(job)
	if err != nil {
		return nil, err
	}
	inputs := map[string]string{
		"base image":       job.Base.SHA256,
		"engine":           formatVersion,
		"headroom":         fmt.Sprint(job.Headroom),
		"time of commit":   job.Time.UTC().String(),
		"chroot variables": strings.Join(job.Recipe.Source.ChrootEnv, " "),
		"partitions":       described(job.Recipe.Source.Partitions),
	}
	for i, s := range steps {
		inputs[fmt.Sprintf("provisioner %d, %s", i+1, s.Label())] = s.own
	}
	return inputs, nil
}

// described is all that partitions have to be for the base image to be taken.
func described(partitions []recipe.Partition) string {
	var all []string
	for _, p := range partitions {
		all = append(all, fmt.Sprintf("%s %s %s at %d, %s on %s", p.Name, p.Type, p.Size, p.StartSector, p.Filesystem, p.Mountpoint))
	}
	return strings.Join(all, "; ")
}

func plan(job build.Job) ([]step, error) {
	var steps []step
	for i, p := range job.Recipe.Provisioners {
		s := step{Provisioner: p, logName: fmt.Sprintf("%02d-%s.log", i+1, fileName(p.Label()))}
		var err error
		parts := []string{formatVersion, p.Type, hostname, digest(environment(job)...)}
		switch p.Type {
		case recipe.Shell:
			err = s.shell(&parts)
		case recipe.File:
			err = s.file(&parts)
		default:
			err = fmt.Errorf("the embedded engine cannot run a %s provisioner", p.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("provisioner %s (%s): %w", p.Label(), p.Range, err)
		}
		s.own = digest(parts...)
		steps = append(steps, s)
	}
	return steps, nil
}

// shell adds a run for each script, as Packer's shell provisioner does it: the
// script is put below /tmp and a line naming it is given to /bin/sh -c.
func (s *step) shell(parts *[]string) error {
	add := func(data []byte) error {
		const remote = "tmp/script_%s.sh"
		script := fmt.Sprintf(remote, digest(string(data))[:8])
		line, err := s.Command("/" + script)
		if err != nil {
			return err
		}
		*parts = append(*parts, line, string(data))
		s.runs = append(s.runs, chroot.Step{
			Argv:  []string{"/bin/sh", "-c", line},
			Files: []chroot.InjectedFile{{Path: script, Mode: 0o755, Data: data}},
		})
		return nil
	}
	if len(s.Inline) > 0 {
		return add([]byte(s.InlineScript()))
	}
	for _, script := range s.Scripts {
		data, err := os.ReadFile(script)
		if err != nil {
			return err
		}
		if err := add(data); err != nil {
			return err
		}
	}
	return nil
}

// uploadDir is where a file provisioner's source is shown to the chroot: on
// the tmpfs at /run, so that it leaves no trace.
const uploadDir = "/run/upload"

// file adds a run for each source, as Packer copies into a chroot: cp -R, where
// a slash behind a directory means its contents, and one behind the
// destination a directory to put a file into. A single file goes through a
// temporary one, which nobody but root may read: neither may its copy. A source
// that is a link is followed here, since the chroot does not see where it leads.
func (s *step) file(parts *[]string) error {
	for _, source := range s.Sources {
		actual, err := filepath.EvalSymlinks(source)
		if err != nil {
			return err
		}
		sum, err := stage.TreeDigest(actual)
		if err != nil {
			return err
		}
		info, err := os.Stat(actual)
		if err != nil {
			return err
		}
		dir, from, to := actual, uploadDir+"/.", s.Destination
		argv := []string{"cp", "-R"}
		switch {
		case !info.IsDir():
			argv = []string{"sh", "-c", `umask 077; exec cat "$0" >"$1"`}
			*parts = append(*parts, argv...)
			dir, from = filepath.Dir(actual), path.Join(uploadDir, filepath.Base(actual))
			if strings.HasSuffix(to, "/") {
				to = path.Join(to, filepath.Base(source))
			}
		case !strings.HasSuffix(source, "/"):
			dir, from = filepath.Dir(actual), path.Join(uploadDir, filepath.Base(actual))
		}
		*parts = append(*parts, from, to, sum)
		s.runs = append(s.runs, chroot.Step{
			Argv:  append(argv, from, path.Clean(to)),
			Binds: []chroot.Bind{{From: dir, To: uploadDir}},
		})
	}
	return nil
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func fileName(label string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(label))
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
