package linekey

import "testing"

// Each byte is found, or passed over, at each place among eight and behind them, whatever stands
// around it.
func TestSkipPlain(t *testing.T) {
	for _, around := range []byte{' ', 'x', '!', 0x7f, 0x80, 0xff} {
		for size := range 20 {
			b := make([]byte, size)
			for i := range b {
				b[i] = around
			}
			for from := range size {
				for at := range size {
					for c := range 256 {
						b[at] = byte(c)
						want := size
						if !plain[c] && at >= from {
							want = at
						}
						if got := skipPlain(b, from); got != want {
							t.Fatalf("%q from %d: %d, want %d", b, from, got, want)
						}
					}
					b[at] = around
				}
			}
		}
	}
	for c := range 256 * 256 { // a byte that is found marks none before it
		b := []byte{'x', byte(c), byte(c >> 8), 'x', '"', 0, '\\', 'x'}
		want := 4
		if !plain[b[2]] {
			want = 2
		}
		if !plain[b[1]] {
			want = 1
		}
		if got := skipPlain(b, 0); got != want {
			t.Fatalf("%q: %d, want %d", b, got, want)
		}
	}
}
