// Package diskimage reads and writes SD-card images without partition devices and
// without mounting anything where others could see it: a partition is always
// an offset into the image file.
package diskimage

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// SectorSize is the unit of an MBR partition table, in bytes.
const SectorSize = 512

// Table is an MBR partition table.
type Table struct {
	ID         uint32 // the disk identifier, the first half of a PARTUUID
	Partitions []Partition
}

// Partition is an entry of a Table, in bytes from the start of the disk.
type Partition struct {
	Start int64
	Size  int64
	Type  string // as sfdisk writes it: lower-case hex without 0x, such as "c" or "83"
}

// PARTUUID returns the name by which Linux knows the n-th partition, counted from 1.
func (t Table) PARTUUID(n int) string { return fmt.Sprintf("%08x-%02x", t.ID, n) }

// Read returns the partition table of the image file.
func Read(ctx context.Context, img string) (Table, error) {
	out, err := process.Output(ctx, "sfdisk", "--json", img)
	if err != nil {
		return Table{}, fmt.Errorf("reading the partition table of %s: %w", img, err)
	}
	info, err := os.Stat(img)
	if err != nil {
		return Table{}, err
	}
	t, err := parseTable([]byte(out), info.Size())
	if err != nil {
		return Table{}, fmt.Errorf("partition table of %s: %w", img, err)
	}
	return t, nil
}

func parseTable(sfdisk []byte, size int64) (Table, error) {
	var dump struct {
		PartitionTable struct {
			Label      string
			ID         string
			Unit       string
			SectorSize int64
			Partitions []struct {
				Start, Size int64
				Type        string
			}
		}
	}
	if err := json.Unmarshal(sfdisk, &dump); err != nil {
		return Table{}, fmt.Errorf("reading sfdisk's answer: %w", err)
	}
	p := dump.PartitionTable
	if p.Label != "dos" || p.Unit != "sectors" {
		return Table{}, fmt.Errorf("it is of type %q, want an MBR (dos)", p.Label)
	}
	if p.SectorSize != 0 && p.SectorSize != SectorSize {
		return Table{}, fmt.Errorf("sectors of %d bytes, want %d", p.SectorSize, SectorSize)
	}
	id, err := strconv.ParseUint(strings.TrimPrefix(p.ID, "0x"), 16, 32)
	if err != nil {
		return Table{}, fmt.Errorf("disk identifier %q: %w", p.ID, err)
	}
	t := Table{ID: uint32(id)}
	for i, e := range p.Partitions {
		part := Partition{e.Start * SectorSize, e.Size * SectorSize, strings.ToLower(e.Type)}
		if part.Start+part.Size > size {
			return Table{}, fmt.Errorf("partition %d ends at byte %d, beyond the image's %d: the file is cut off", i+1, part.Start+part.Size, size)
		}
		t.Partitions = append(t.Partitions, part)
	}
	return t, nil
}

// RaspberryPi returns the boot and the root partition if t is laid out as
// Raspberry Pi OS images are: a FAT partition, then a Linux one.
func (t Table) RaspberryPi() (boot, root Partition, err error) {
	if len(t.Partitions) != 2 {
		return boot, root, fmt.Errorf("%d partitions, want 2: boot (FAT) and root (Linux)", len(t.Partitions))
	}
	boot, root = t.Partitions[0], t.Partitions[1]
	switch {
	case boot.Type != "c" && boot.Type != "b" && boot.Type != "e":
		return boot, root, fmt.Errorf("partition 1 has type %s, want c (FAT32, LBA)", boot.Type)
	case root.Type != "83":
		return boot, root, fmt.Errorf("partition 2 has type %s, want 83 (Linux)", root.Type)
	case t.ID == 0:
		return boot, root, fmt.Errorf("the disk identifier is 0, so no PARTUUID can name the root partition")
	}
	return boot, root, nil
}

// script returns sfdisk's input for t.
func (t Table) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "label: dos\nlabel-id: 0x%08x\nunit: sectors\n", t.ID)
	for _, p := range t.Partitions {
		fmt.Fprintf(&b, "start=%d, size=%d, type=%s\n", p.Start/SectorSize, p.Size/SectorSize, p.Type)
	}
	return b.String()
}

// write puts t on the image file, which has to be large enough already.
func (t Table) write(ctx context.Context, img string) error {
	err := process.Cmd{
		Argv:  []string{"sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", img},
		Stdin: strings.NewReader(t.script()),
	}.Run(ctx)
	if err != nil {
		return fmt.Errorf("writing the partition table of %s: %w", img, err)
	}
	return nil
}
