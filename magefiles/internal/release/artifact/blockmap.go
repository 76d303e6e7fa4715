package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
)

// blockSize is the unit of a block map.
const blockSize = 4096

// mappedRange is a run of blocks to be written, and the SHA-256 of it.
type mappedRange struct {
	diskimage.Range
	SHA256 string
}

// renderBlockMap returns a block map of version 2.0, the format of Intel's and
// Yocto's bmaptool.
func renderBlockMap(size int64, mapped []mappedRange) []byte {
	blocks := (size + blockSize - 1) / blockSize
	var count int64
	var list strings.Builder
	for _, r := range mapped {
		first, last := r.Start/blockSize, (r.End-1)/blockSize
		count += last - first + 1
		if first == last {
			fmt.Fprintf(&list, "        <Range chksum=%q> %d </Range>\n", r.SHA256, first)
		} else {
			fmt.Fprintf(&list, "        <Range chksum=%q> %d-%d </Range>\n", r.SHA256, first, last)
		}
	}
	// The sum of this file is made while zeros stand in its place.
	zeros := strings.Repeat("0", sha256.Size*2)
	doc := fmt.Appendf(nil, `<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> %d </ImageSize>
    <BlockSize> %d </BlockSize>
    <BlocksCount> %d </BlocksCount>
    <MappedBlocksCount> %d </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> %s </BmapFileChecksum>
    <BlockMap>
%s    </BlockMap>
</bmap>
`, size, blockSize, blocks, count, zeros, list.String())
	sum := sha256.Sum256(doc)
	return bytes.Replace(doc, []byte(zeros), []byte(hex.EncodeToString(sum[:])), 1)
}
