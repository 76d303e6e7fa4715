package artifact

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
)

// dataRanges returns the parts of f that are not holes, up to size.
func dataRanges(f *os.File, size int64) ([]diskimage.Range, error) {
	var ranges []diskimage.Range
	fd := int(f.Fd())
	for at := int64(0); at < size; {
		start, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			return []diskimage.Range{{Start: 0, End: size}}, nil // a file system that does not tell
		}
		if err != nil {
			return nil, fmt.Errorf("looking for data in %s: %w", f.Name(), err)
		}
		end, err := unix.Seek(fd, start, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("looking for holes in %s: %w", f.Name(), err)
		}
		ranges = append(ranges, diskimage.Range{Start: start, End: min(end, size)})
		at = end
	}
	return ranges, nil
}

// blockRanges widens ranges to whole blocks, limits them to size, and returns
// them sorted and merged.
func blockRanges(ranges []diskimage.Range, size int64) []diskimage.Range {
	const mask = blockSize - 1
	wide := make([]diskimage.Range, 0, len(ranges))
	for _, r := range ranges {
		r = diskimage.Range{Start: max(r.Start, 0) &^ mask, End: min((r.End+mask)&^mask, size)}
		if r.Start < r.End {
			wide = append(wide, r)
		}
	}
	slices.SortFunc(wide, func(a, b diskimage.Range) int { return cmp.Compare(a.Start, b.Start) })
	var merged []diskimage.Range
	for _, r := range wide {
		if n := len(merged); n > 0 && r.Start <= merged[n-1].End {
			merged[n-1].End = max(merged[n-1].End, r.End)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}
