package flags

import (
	"math"
	"testing"
)

func TestParseSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want int64 // -1: an error
	}{
		{"0", 0}, {"16384", 16384}, {"16KiB", 16384}, {"16 kib", 16384}, {"64KB", 64000}, {"1.5MiB", 3 << 19}, {"1MiB", 1 << 20},
		{"64M", 64e6}, {"64k", 64000}, {"64Mi", 64 << 20},
		{"9223372036854775807", math.MaxInt64}, {"9223372036854775808", -1},
		{"", -1}, {"-1", -1}, {"KiB", -1}, {".", -1}, {"1.2.3", -1}, {"1e3", -1}, {"0x10", -1}, {"1,000", -1}, {"NaN", -1}, {"Inf", -1}, {"٣", -1},
	} {
		got, err := ParseSize(test.text)
		if err != nil {
			got = -1
		}
		if got != test.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", test.text, got, err, test.want)
		}
	}
}

// A size such as 64M was shown as it was written, which does not say whether it means 1000s or
// 1024s.
func TestUnambiguousSizes(t *testing.T) {
	for size, want := range map[string]string{
		"64M": "64000000", "1.5 g": "1500000000", "64k": "64000",
		"64MB": "64MB", "64MiB": "64MiB", "64Mi": "64Mi", "65536": "65536", "64b": "64b", "": "", "x": "x", "M": "M",
	} {
		if got := Unambiguous(size); got != want {
			t.Errorf("%q is shown as %q, want %q", size, got, want)
		}
	}
}
