package disk

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/process"
)

// Range is a part of an image, in bytes from Start up to End.
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
	free := &freeBlocks{}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := free.read(pr)
		_, _ = io.Copy(io.Discard, pr) // so that the command can end
		done <- err
	}()
	err = process.Cmd{Argv: []string{"dumpe2fs", at(img, root)}, Stdout: pw}.Run(ctx)
	pw.Close()
	if readErr := <-done; err == nil {
		err = readErr
	}
	if err != nil {
		return nil, fmt.Errorf("listing the free blocks of %s: %w", img, err)
	}
	return free.complement(root.Start, size), nil
}

// freeBlocks gathers what dumpe2fs lists, in blocks of the file system.
type freeBlocks struct{ ranges []Range }

func (f *freeBlocks) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20) // a fragmented group's list is one line
	for lines.Scan() {
		list, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "Free blocks: ")
		if !ok || !strings.HasPrefix(lines.Text(), " ") { // the header's count is not indented
			continue
		}
		for part := range strings.SplitSeq(list, ", ") {
			if part == "" {
				continue
			}
			first, last, isRange := strings.Cut(part, "-")
			if !isRange {
				last = first
			}
			a, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return fmt.Errorf("reading dumpe2fs's list %q: %w", part, err)
			}
			b, err := strconv.ParseInt(last, 10, 64)
			if err != nil {
				return fmt.Errorf("reading dumpe2fs's list %q: %w", part, err)
			}
			f.ranges = append(f.ranges, Range{a, b + 1})
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
