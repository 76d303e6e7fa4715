package boottest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/crypto/ssh"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// snapshotDir holds the running device that scenarios start from: its disk, its
// memory, its kernel and the key to log in with.
const (
	snapshotDir  = "running"
	snapshotFile = "snapshot.json"
	memoryFile   = "memory"
)

// snapshot is what is written beside a running device. It is of use only for the
// same image on the same kind of machine.
type snapshot struct {
	Of        string        `json:"of"` // fingerprint
	Spec      machine.Spec  `json:"spec"`
	Size      int64         `json:"size"`
	Booted    string        `json:"booted"`
	FirstBoot time.Duration `json:"first_boot_ns"` // from power to the moment it was kept
}

// fingerprint names all that a running device depends on.
func (s *session) fingerprint(ctx context.Context) (string, error) {
	version, err := process.Output(ctx, "qemu-system-aarch64", "--version")
	usual := machine.Spec{
		Accel: machine.DetectAccel(), CPUs: cpus, MemoryMiB: memoryMiB,
		Kernel: "kernel", Initrd: "initrd", Cmdline: cmdline("", Device{}), Disk: diskFile, Forwards: forwards(s.o.Services),
	}
	s.kernel.hardware(&usual)
	return strings.Join([]string{s.o.Artifact.RawSHA256, version, s.kernel.String(), process.Quote(machine.Argv(usual))}, "\n"), err
}

// keep makes a frozen device the running one.
func (s *session) keep(ctx context.Context, d *device, took time.Duration) (err error) {
	of, err := s.fingerprint(ctx)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(snapshot{Of: of, Spec: d.spec, Size: d.size, Booted: d.booted, FirstBoot: took}, "", "  ")
	if err != nil {
		return err
	}
	// The disk's path to the image it is over is relative: the directory has to
	// stay at the same depth.
	dir := filepath.Join(s.o.WorkDir, snapshotsDir, snapshotDir)
	return errors.Join(
		os.MkdirAll(filepath.Dir(dir), 0o755),
		os.RemoveAll(dir),
		renameio.WriteFile(filepath.Join(d.spec.Dir, snapshotFile), append(b, '\n'), 0o644),
		os.Rename(d.spec.Dir, dir),
	)
}

var errNoSnapshot = errors.New("there is no running device of this image")

// running returns the device that was kept, to put others over.
func (s *session) running(ctx context.Context) (*device, error) {
	dir := filepath.Join(s.o.WorkDir, snapshotsDir, snapshotDir)
	b, err := os.ReadFile(filepath.Join(dir, snapshotFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNoSnapshot
	}
	if err != nil {
		return nil, err
	}
	var kept snapshot
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, fmt.Errorf("reading the running device: %w", err)
	}
	of, err := s.fingerprint(ctx)
	if err != nil {
		return nil, err
	}
	if of != kept.Of {
		return nil, errors.Join(errNoSnapshot, os.RemoveAll(dir))
	}
	key, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		return nil, err
	}
	d := &device{spec: kept.Spec, keyPath: filepath.Join(dir, keyFile), signer: signer, user: user, size: kept.Size, booted: kept.Booted, image: s.image, kernel: s.kernel}
	d.spec.Dir, d.spec.Memory, d.spec.Forwards = dir, memoryFile, forwards(s.o.Services)
	return d, nil
}

// restored makes a device that goes on where the running one was kept. It waits
// for that to be kept.
func (s *session) restored(ctx context.Context, name string) (*device, error) {
	select {
	case <-s.kept:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.keptErr != nil {
		return nil, s.keptErr
	}
	kept, err := s.running(ctx)
	if err != nil {
		return nil, err
	}
	d, err := kept.over(ctx, s.machineDir(name), diskFile)
	if err != nil {
		return nil, err
	}
	d.evidence, d.spec.Capture = filepath.Join(s.o.WorkDir, name), captureFor(name)
	return d, nil
}

// startRunning starts a running device until stop is called.
func (s *session) startRunning(ctx context.Context, name string) (_ *machine.Machine, stop func() error, err error) {
	d, err := s.restored(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	m, err := d.start(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(d.spec.Dir))
	}
	return m, func() error { return errors.Join(m.Close(), os.RemoveAll(d.spec.Dir)) }, nil
}
