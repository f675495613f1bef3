//go:build linux

package load

import (
	"fmt"
)

// blockSize is the size of one write in bytes, which is rounded down to whole lines.
const blockSize = 300 << 10

// blockLines returns how many lines of size bytes go into one write.
func blockLines(size int) int { return max(blockSize/size, 1) }

// makeLines returns n lines of exactly size bytes, each a JSON object with a newline.
func makeLines(n, size int) []byte {
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
