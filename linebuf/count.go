package linebuf

import "sync/atomic"

// Count is a number of lines and their size in bytes, delimiters or counts included.
type Count struct{ Lines, Bytes uint64 }

// Add adds o to c.
func (c *Count) Add(o Count) {
	c.Lines += o.Lines
	c.Bytes += o.Bytes
}

// Sub subtracts o from c. o must not be larger.
func (c *Count) Sub(o Count) {
	c.Lines -= o.Lines
	c.Bytes -= o.Bytes
}

// AtomicCount is a Count that is safe for concurrent use. It changes lines and bytes one after the
// other, so a concurrent Load may see one of them ahead. The zero value is ready to use.
type AtomicCount struct{ lines, bytes atomic.Uint64 }

// Add adds n to the count.
func (c *AtomicCount) Add(n Count) {
	c.lines.Add(n.Lines)
	c.bytes.Add(n.Bytes)
}

// Sub subtracts n from the count.
func (c *AtomicCount) Sub(n Count) {
	c.lines.Add(-n.Lines)
	c.bytes.Add(-n.Bytes)
}

// Load returns the count.
func (c *AtomicCount) Load() Count {
	return Count{Lines: c.lines.Load(), Bytes: c.bytes.Load()}
}
