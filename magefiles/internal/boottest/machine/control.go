package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// SetLink plugs eth0's cable in or pulls it out.
func (m *Machine) SetLink(ctx context.Context, up bool) error {
	_, err := monitor(ctx, m.Spec.Dir, "set_link", map[string]any{"name": "eth0", "up": up})
	if err == nil {
		m.unplugged.Store(!up)
	}
	return err
}

// pullOut pulls the cable out as soon as QEMU listens.
func (m *Machine) pullOut(ctx context.Context) error {
	err := m.retry(ctx, 10*time.Second, func(ctx context.Context) error { return m.SetLink(ctx, false) })
	if err != nil {
		return fmt.Errorf("pulling the cable out: %w", err)
	}
	return nil
}

// prepare waits for a machine that goes on from its memory to do so, and pulls out
// a cable before the guest has a driver for it.
func (m *Machine) prepare(ctx context.Context) error {
	if m.Spec.Memory != "" {
		err := m.retry(ctx, 2*time.Minute, func(ctx context.Context) error {
			answer, err := monitor(ctx, m.Spec.Dir, "query-status", nil)
			if err == nil && !bytes.Contains(answer, []byte(`"running": true`)) {
				err = fmt.Errorf("QEMU says %s", answer)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("going on from %s: %w", m.Spec.Memory, err)
		}
	}
	if m.Spec.Unplugged {
		return m.pullOut(ctx)
	}
	return nil
}

func (m *Machine) retry(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := m.Within(ctx, d)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// KeepDisk keeps the disk as it is at this moment, as after a power cut: what
// the guest has not yet written is not on it. The machine goes on with a new
// overlay called next; the file it used until now does not change any more.
func (m *Machine) KeepDisk(ctx context.Context, next string) error {
	_, err := monitor(ctx, m.Spec.Dir, "blockdev-snapshot-sync", map[string]any{
		"device": "disk", "snapshot-file": next, "format": "qcow2", "mode": "absolute-paths",
	})
	if err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.latest.Disk = next
	}
	return err
}

// Freeze writes the running machine to a file called name in Dir and ends QEMU.
// A machine with that Memory, and the same disk, goes on at this moment.
func (m *Machine) Freeze(ctx context.Context, name string) (err error) {
	m.Disconnect()
	partial := name + ".partial"
	defer func() {
		err = errors.Join(err, m.Close())
		if err == nil {
			err = os.Rename(filepath.Join(m.Spec.Dir, partial), filepath.Join(m.Spec.Dir, name))
		}
		if err != nil {
			err = fmt.Errorf("keeping the machine's memory: %w", err)
		}
	}()
	// The guest may stand still while it is written: nobody uses it meanwhile.
	_, err = monitor(ctx, m.Spec.Dir, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(8) << 30, "downtime-limit": 120_000})
	if err != nil {
		return err
	}
	uri := "exec:cat > " + process.Quote([]string{partial})
	if _, err := monitor(ctx, m.Spec.Dir, "migrate", map[string]any{"uri": uri}); err != nil {
		return err
	}
	for {
		answer, err := monitor(ctx, m.Spec.Dir, "query-migrate", nil)
		if err != nil {
			return err
		}
		var state struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := json.Unmarshal(answer, &state); err != nil {
			return err
		}
		switch state.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("QEMU says %s: %s", state.Status, state.Error)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
