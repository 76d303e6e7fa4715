package diskimage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// Where things are in an ext4 file system, and the flags that move them:
// Documentation/filesystems/ext4 in the Linux kernel's source.
const (
	superblockStart = 1024
	superblockSize  = 1024
	ext4Magic       = 0xef53

	incompatMetaBG        = 0x10
	incompat64bit         = 0x80
	incompatChecksumSeed  = 0x2000
	roCompatMetadataCheck = 0x400

	groupInodeUninit = 0x1
)

// ext4FS finds the inodes of an ext4 file system inside an image.
type ext4FS struct {
	file  *os.File
	start int64 // of the file system in the file, in bytes

	blockSize      int64
	inodeSize      int64
	inodesPerGroup int64
	groups         []ext4Group
	checksums      bool
	checksumSeed   uint32
}

// ext4Group says where a block group keeps its inodes, in blocks.
type ext4Group struct {
	inodeBitmap, inodeTable int64
	unused                  bool // no inode of it was ever used
}

func openExt4(file *os.File, p Partition) (*ext4FS, error) {
	sb := make([]byte, superblockSize)
	if _, err := file.ReadAt(sb, p.Start+superblockStart); err != nil {
		return nil, fmt.Errorf("reading the superblock of %s: %w", file.Name(), err)
	}
	le := binary.LittleEndian
	if le.Uint16(sb[0x38:]) != ext4Magic {
		return nil, fmt.Errorf("byte %d of %s: found no ext4 file system", p.Start, file.Name())
	}
	incompat, roCompat := le.Uint32(sb[0x60:]), le.Uint32(sb[0x64:])
	if incompat&incompatMetaBG != 0 {
		return nil, fmt.Errorf("the root file system of %s has the feature meta_bg, with which its inodes are elsewhere", file.Name())
	}
	fs := &ext4FS{
		file:           file,
		start:          p.Start,
		blockSize:      1024 << le.Uint32(sb[0x18:]),
		inodeSize:      int64(le.Uint16(sb[0x58:])),
		inodesPerGroup: int64(le.Uint32(sb[0x28:])),
		checksums:      roCompat&roCompatMetadataCheck != 0,
		checksumSeed:   crc32c(^uint32(0), sb[0x68:0x78]),
	}
	if incompat&incompatChecksumSeed != 0 {
		fs.checksumSeed = le.Uint32(sb[0x270:])
	}
	descSize, blocks := int64(32), int64(le.Uint32(sb[0x4:]))
	if incompat&incompat64bit != 0 {
		descSize = int64(le.Uint16(sb[0xfe:]))
		blocks |= int64(le.Uint32(sb[0x150:])) << 32
	}
	firstBlock, perGroup := int64(le.Uint32(sb[0x14:])), int64(le.Uint32(sb[0x20:]))
	if perGroup == 0 || fs.inodesPerGroup == 0 || fs.inodeSize < 128 || descSize < 32 || blocks*fs.blockSize > p.Size {
		return nil, fmt.Errorf("the superblock of the root file system of %s makes no sense", file.Name())
	}
	descriptors := make([]byte, roundUp(blocks-firstBlock, perGroup)/perGroup*descSize)
	if err := fs.read(descriptors, firstBlock+1); err != nil {
		return nil, err
	}
	for len(descriptors) > 0 {
		d := descriptors[:descSize]
		descriptors = descriptors[descSize:]
		g := ext4Group{
			inodeBitmap: int64(le.Uint32(d[0x4:])),
			inodeTable:  int64(le.Uint32(d[0x8:])),
			unused:      le.Uint16(d[0x12:])&groupInodeUninit != 0,
		}
		if descSize >= 64 {
			g.inodeBitmap |= int64(le.Uint32(d[0x24:])) << 32
			g.inodeTable |= int64(le.Uint32(d[0x28:])) << 32
		}
		fs.groups = append(fs.groups, g)
	}
	return fs, nil
}

func (fs *ext4FS) read(b []byte, block int64) error {
	if _, err := fs.file.ReadAt(b, fs.start+block*fs.blockSize); err != nil {
		return fmt.Errorf("reading block %d of the root file system of %s: %w", block, fs.file.Name(), err)
	}
	return nil
}

// editInodes calls edit with every inode in use and writes back what it changed.
func (fs *ext4FS) editInodes(edit func(inode []byte)) error {
	bitmap := make([]byte, fs.blockSize)
	table := make([]byte, fs.inodesPerGroup*fs.inodeSize)
	before := make([]byte, fs.inodeSize)
	for n, g := range fs.groups {
		if g.unused {
			continue
		}
		if err := errors.Join(fs.read(bitmap, g.inodeBitmap), fs.read(table, g.inodeTable)); err != nil {
			return err
		}
		for i := range fs.inodesPerGroup {
			if bitmap[i/8]&(1<<(i%8)) == 0 {
				continue
			}
			inode := table[i*fs.inodeSize : (i+1)*fs.inodeSize]
			copy(before, inode)
			edit(inode)
			if string(before) == string(inode) {
				continue
			}
			fs.setChecksum(inode, uint32(int64(n)*fs.inodesPerGroup+i+1))
			if _, err := fs.file.WriteAt(inode, fs.start+g.inodeTable*fs.blockSize+i*fs.inodeSize); err != nil {
				return fmt.Errorf("writing an inode of the root file system: %w", err)
			}
		}
	}
	return nil
}

// Of an inode, in bytes from its start.
const (
	inodeATime      = 0x08
	inodeCTime      = 0x0c
	inodeMTime      = 0x10
	inodeFlags      = 0x20
	inodeGeneration = 0x64
	inodeSumLow     = 0x7c
	inodeExtraSize  = 0x80 // bytes in use beyond the first 128
	inodeSumHigh    = 0x82
	inodeCTimeExtra = 0x84
	inodeMTimeExtra = 0x88
	inodeATimeExtra = 0x8c
	inodeCrTime     = 0x90
	inodeCrExtra    = 0x94
)

// flagXAttrValue marks an inode that holds the value of an extended attribute.
const flagXAttrValue = 0x200000

// inodeHas reports whether the inode is large enough for four bytes at field.
func inodeHas(inode []byte, field int) bool {
	if len(inode) <= inodeExtraSize {
		return field < inodeExtraSize
	}
	return field+4 <= inodeExtraSize+int(binary.LittleEndian.Uint16(inode[inodeExtraSize:]))
}

// setChecksum writes the checksum of the inode with the given number into it.
func (fs *ext4FS) setChecksum(inode []byte, number uint32) {
	if !fs.checksums {
		return
	}
	le := binary.LittleEndian
	high := inodeHas(inode, inodeSumHigh-2)
	le.PutUint16(inode[inodeSumLow:], 0)
	if high {
		le.PutUint16(inode[inodeSumHigh:], 0)
	}
	sum := crc32c(fs.checksumSeed, le.AppendUint32(nil, number))
	sum = crc32c(sum, inode[inodeGeneration:inodeGeneration+4])
	sum = crc32c(sum, inode)
	le.PutUint16(inode[inodeSumLow:], uint16(sum))
	if high {
		le.PutUint16(inode[inodeSumHigh:], uint16(sum>>16))
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c is the checksum as ext4 chains it, without the customary inversions.
func crc32c(sum uint32, b []byte) uint32 { return ^crc32.Update(^sum, castagnoli, b) }
