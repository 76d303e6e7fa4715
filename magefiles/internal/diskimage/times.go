package diskimage

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"time"
)

// clampTimes gives every file of the root file system one time: that of its
// contents, or latest if it is later. The other times tell when the build
// machine had the file in hand, and no system call can set them all in the tree
// that the file system is made from.
func clampTimes(img string, root Partition, latest time.Time) (err error) {
	file, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	fs, err := openExt4(file, root)
	if err != nil {
		return err
	}
	return fs.editInodes(func(inode []byte) { clampInode(inode, latest.Unix()) })
}

func clampInode(inode []byte, latest int64) {
	if binary.LittleEndian.Uint32(inode[inodeFlags:])&flagXAttrValue != 0 {
		return // it counts in these fields
	}
	t := inodeTime(inode)
	// mke2fs before 1.47.1 keeps the lower 32 bits of a time, which makes one
	// after 2038 one before 1970.
	if t < 0 || t > latest {
		t = latest
	}
	if !inodeHas(inode, inodeMTimeExtra) {
		t = min(t, math.MaxInt32)
	}
	le := binary.LittleEndian
	for field, extra := range map[int]int{
		inodeATime:  inodeATimeExtra,
		inodeCTime:  inodeCTimeExtra,
		inodeMTime:  inodeMTimeExtra,
		inodeCrTime: inodeCrExtra,
	} {
		if inodeHas(inode, field) {
			le.PutUint32(inode[field:], uint32(t))
		}
		if inodeHas(inode, extra) {
			le.PutUint32(inode[extra:], timeExtra(t))
		}
	}
}

// inodeTime returns the time of the contents, in whole seconds since 1970. The
// lower two bits of the extra field count on where 32 bits with a sign end.
func inodeTime(inode []byte) int64 {
	le := binary.LittleEndian
	t := int64(int32(le.Uint32(inode[inodeMTime:])))
	if inodeHas(inode, inodeMTimeExtra) {
		t += int64(le.Uint32(inode[inodeMTimeExtra:])&3) << 32
	}
	return t
}

func timeExtra(t int64) uint32 { return uint32((t-int64(int32(t)))>>32) & 3 }
