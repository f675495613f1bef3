package health

import (
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

// However an answer arrives in pieces, what matches is found, and nothing else.
func FuzzExpect(f *testing.F) {
	f.Add("PON", []byte("+PONG\r\n"))
	f.Add("^x$", []byte("xx"))
	f.Fuzz(func(t *testing.T, pattern string, answer []byte) {
		re, err := regexp.Compile(pattern)
		if err != nil || len(answer) > 1000 {
			return
		}
		want := false
		for i := range answer {
			want = want || re.Match(answer[:i+1])
		}
		if err := expect(iotest.OneByteReader(strings.NewReader(string(answer))), re); (err == nil) != want {
			t.Fatalf("%q against %q: %v, want a match: %v", pattern, answer, err, want)
		}
		whole := expect(iotest.DataErrReader(strings.NewReader(string(answer))), re)
		if len(answer) > 0 && (whole == nil) != re.Match(answer) {
			t.Fatalf("%q against %q in one piece: %v", pattern, answer, whole)
		}
	})
}
