package httpsource

import (
	"bytes"
	"testing"

	"linesplit/linebuf"
)

// Whatever a body has that claims to be compressed, it is bounded, and all memory comes back.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{"", "one\n", "one\ntwo\nthree"} {
		f.Add("gzip", gzipped(text))
		f.Add("zstd", zstded(text))
		f.Add("", []byte(text))
	}
	f.Fuzz(func(t *testing.T, encoding string, in []byte) {
		s := New(Options{Pool: linebuf.NewPool(4 << 20), Required: 1})
		b := &body{s: s, ctx: t.Context(), maxLine: 1 << 10, max: 16 << 10}
		decoded, done, err := b.decode(encoding, &source{Reader: bytes.NewReader(in)})
		if err == nil {
			err = b.read(decoded, -1)
			done()
		}
		var size int
		for _, x := range b.buffers {
			size += len(x.B)
		}
		if size > 17<<10 || err == nil && size > 0 && (size < int(b.bytes) || size > int(b.bytes)+1) {
			t.Errorf("%d bytes of lines from %d: %v", size, b.bytes, err)
		}
		b.release()
		if s.o.Pool.InUse() != 0 || s.room.taken() != 0 {
			t.Fatalf("%d bytes in use, %d taken", s.o.Pool.InUse(), s.room.taken())
		}
	})
}
