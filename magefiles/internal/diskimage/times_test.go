package diskimage

import (
	"encoding/binary"
	"math"
	"testing"
)

// inodeWith returns an inode of size bytes that uses extra bytes beyond the
// first 128, whose contents were changed at the given second.
func inodeWith(size, extra int, seconds int64) []byte {
	inode := make([]byte, size)
	for i := range inode {
		inode[i] = 0xff
	}
	le := binary.LittleEndian
	le.PutUint32(inode[inodeFlags:], 0)
	le.PutUint32(inode[inodeMTime:], uint32(seconds))
	if size > 128 {
		le.PutUint16(inode[inodeExtraSize:], uint16(extra))
		if inodeHas(inode, inodeMTimeExtra) {
			le.PutUint32(inode[inodeMTimeExtra:], 123456789<<2|timeExtra(seconds))
		}
	}
	return inode
}

func TestClampInode(t *testing.T) {
	const latest = 1_700_000_000
	const in2040, in2400 = 2_208_988_800, 13_569_465_600
	for name, tt := range map[string]struct {
		size, extra  int
		time, latest int64
		want         int64
	}{
		"before":                     {256, 32, 1_600_000_000, latest, 1_600_000_000},
		"at":                         {256, 32, latest, latest, latest},
		"after":                      {256, 32, latest + 1, latest, latest},
		"after 2038":                 {256, 32, in2040, latest, latest},
		"after 2038, cut to 32 bits": {128, 0, in2040, latest, latest},
		"small inode":                {128, 0, latest + 1, latest, latest},
		"latest after 2038":          {256, 32, in2040 + 5, in2040, in2040},
		"kept after 2038":            {256, 32, in2040, in2400, in2040},
		"after 2400":                 {256, 32, in2400 + 5, in2400, in2400},
		"no room for 2040":           {128, 0, latest, in2040, latest},
		"no room for latest":         {128, 0, in2040, in2040, math.MaxInt32},
		"large inode used as small":  {256, 0, latest + 1, latest, latest},
		"no room for a birth time":   {256, 16, latest + 1, latest, latest},
	} {
		inode := inodeWith(tt.size, tt.extra, tt.time)
		clampInode(inode, tt.latest)
		if got := inodeTime(inode); got != tt.want {
			t.Errorf("%s: the contents' time is %d, want %d", name, got, tt.want)
		}
		le := binary.LittleEndian
		for _, field := range []int{inodeATime, inodeCTime, inodeCrTime} {
			if inodeHas(inode, field) && le.Uint32(inode[field:]) != uint32(tt.want) {
				t.Errorf("%s: field %#x is another time", name, field)
			}
		}
		for _, field := range []int{inodeATimeExtra, inodeCTimeExtra, inodeMTimeExtra, inodeCrExtra} {
			if inodeHas(inode, field) && le.Uint32(inode[field:])>>2 != 0 {
				t.Errorf("%s: field %#x has nanoseconds", name, field)
			}
		}
		fields := map[int]bool{}
		for _, f := range []int{inodeATime, inodeCTime, inodeMTime, inodeFlags, inodeExtraSize, inodeCTimeExtra, inodeMTimeExtra, inodeATimeExtra, inodeCrTime, inodeCrExtra} {
			fields[f/4] = inodeHas(inode, f) || f == inodeExtraSize
		}
		for i, b := range inode {
			if b != 0xff && !fields[i/4] {
				t.Errorf("%s: byte %#x was changed", name, i)
			}
		}
	}
}

func TestClampInodeLeavesValuesOfExtendedAttributes(t *testing.T) {
	inode := inodeWith(256, 32, 1)
	binary.LittleEndian.PutUint32(inode[inodeFlags:], flagXAttrValue)
	before := string(inode)
	clampInode(inode, 0)
	if string(inode) != before {
		t.Error("its times, which are none, were changed")
	}
}

func TestChecksum(t *testing.T) {
	// The check value of CRC-32C, without its last inversion.
	if got := crc32c(^uint32(0), []byte("123456789")); got != ^uint32(0xe3069283) {
		t.Errorf("got %#x", got)
	}
}
