//go:build linux

package load

import (
	"fmt"
)

// blockSize is how many bytes go into one write, rounded down to whole lines.
const blockSize = 300 << 10

// blockLines is how many lines of so many bytes go into one write.
func blockLines(size int) int { return max(blockSize/size, 1) }

// compose returns n lines of exactly size bytes, each a JSON object with its newline.
func compose(n, size int) []byte {
	block := make([]byte, 0, n*size)
	for i := range n {
		start := len(block)
		block = fmt.Appendf(block, `{"ts":1718040000.%06d,"uid":"C%012x",`, i, i*7919)
		if size >= 200 {
			block = fmt.Appendf(block, `"id.orig_h":"10.1.%d.%d","proto":"tcp","service":"ssl",`, i/256%256, i%256)
		}
		block = append(block, `"note":"`...)
		for len(block)-start < size-3 {
			block = append(block, "abcdefghijklmnopqrstuvwxyz0123456789 "[len(block)%37])
		}
		block = append(block, "\"}\n"...)
	}
	return block
}
