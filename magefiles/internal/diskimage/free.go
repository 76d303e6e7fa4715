package diskimage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Range is a part of an image: bytes from Start up to, not including, End.
type Range struct{ Start, End int64 }

// Occupied returns the parts of the image that a copy has to write even where
// they hold only zeros: everything but the free blocks of the root file
// system. What a card held before would otherwise show through in a file
// system's own tables.
func Occupied(ctx context.Context, img string, size int64) ([]Range, error) {
	table, err := Read(ctx, img)
	if err != nil {
		return nil, err
	}
	_, root, err := table.RaspberryPi()
	if err != nil {
		return nil, err
	}
	header, err := superblock(ctx, img, root)
	if err != nil {
		return nil, err
	}
	blocks, err := strconv.ParseInt(header["Block count"], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("block count of %s: %w", img, err)
	}
	free := &freeBlocks{}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := free.read(pr)
		_, _ = io.Copy(io.Discard, pr) // so that the command can end
		done <- err
	}()
	err = process.Cmd{Argv: []string{"debugfs", "-R", fmt.Sprintf("testb 1 %d", blocks-1), ext4Image(img, root)}, Stdout: pw}.Run(ctx)
	pw.Close()
	if err := errors.Join(err, <-done); err != nil {
		return nil, fmt.Errorf("listing the free blocks of %s: %w", img, err)
	}
	if free.seen != blocks-1 {
		return nil, fmt.Errorf("listing the free blocks of %s: debugfs told of %d blocks, not of %d", img, free.seen, blocks-1)
	}
	return free.complement(root.Start, size), nil
}

// freeBlocks gathers what debugfs's testb tells, in blocks of the file system.
type freeBlocks struct {
	ranges []Range
	seen   int64 // blocks
}

func (f *freeBlocks) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		number, state, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "Block "), " ")
		block, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil {
			return fmt.Errorf("reading debugfs's line %q", lines.Text())
		}
		f.seen++
		switch state {
		case "marked in use":
		case "not in use":
			if n := len(f.ranges); n > 0 && f.ranges[n-1].End == block {
				f.ranges[n-1].End++
			} else {
				f.ranges = append(f.ranges, Range{block, block + 1})
			}
		default:
			return fmt.Errorf("reading debugfs's line %q", lines.Text())
		}
	}
	return lines.Err()
}

// complement returns what of an image of size bytes, whose root file system
// starts at start, is not free.
func (f *freeBlocks) complement(start, size int64) []Range {
	var occupied []Range
	from := int64(0)
	for _, r := range f.ranges {
		if to := start + r.Start*blockSize; to > from {
			occupied = append(occupied, Range{from, to})
		}
		from = start + r.End*blockSize
	}
	if from < size {
		occupied = append(occupied, Range{from, size})
	}
	return occupied
}
