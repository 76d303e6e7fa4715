package scenario

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

// slack is how far from the end of the disk a root file system may end: a
// partitioning tool aligns, and resize2fs leaves out a last group that is too
// small to be worth its tables.
const slack = 8 << 20

func rootGrown() boottest.Check {
	return boottest.Check{
		Name: "root has grown", Asserts: "the root partition and its file system reach to the end of the disk", Bound: settle,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			out, err := s.Run(ctx, `src=$(findmnt -no SOURCE /)
sys=/sys/class/block/${src#/dev/}
echo start=$(cat $sys/start)
echo size=$(cat $sys/size)
echo disk=$(cat $sys/../size)
dumpe2fs -h $src 2>/dev/null | sed -n 's/^Block count: */blocks=/p; s/^Block size: */blocksize=/p'`)
			if err != nil {
				return "", err
			}
			return judgeRoot(out, s.DiskSize)
		},
	}
}

func judgeRoot(out string, diskSize int64) (string, error) {
	v := keyValues(out)
	n := map[string]int64{}
	for _, key := range []string{"start", "size", "disk", "blocks", "blocksize"} {
		i, err := strconv.ParseInt(v[key], 10, 64)
		if err != nil {
			return "", fmt.Errorf("the guest told no %s of the root file system: %q", key, out)
		}
		n[key] = i
	}
	disk, part, end, fs := n["disk"]*512, n["size"]*512, (n["start"]+n["size"])*512, n["blocks"]*n["blocksize"]
	seen := fmt.Sprintf("disk %s, partition %s, file system %s", mib(disk), mib(part), mib(fs))
	switch {
	case diskSize != 0 && disk != diskSize:
		return "", boottest.Final("%s; expected a disk of %s", seen, mib(diskSize))
	case disk-end > slack:
		return "", fmt.Errorf("%s: the partition leaves %s of the disk unused", seen, mib(disk-end))
	case part-fs > slack:
		return "", fmt.Errorf("%s: the file system leaves %s of its partition unused", seen, mib(part-fs))
	}
	return seen, nil
}

func mib(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" }

// keyValues reads lines of the form key=value.
func keyValues(out string) map[string]string {
	v := map[string]string{}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			v[key] = value
		}
	}
	return v
}

func firstWords(out string) []string {
	var words []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 0 {
			words = append(words, f[0])
		}
	}
	return words
}
