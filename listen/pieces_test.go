package listen

import "testing"

// However little of a header has come, it must not be taken for all of it: the signature of version 2 has line ends in it.
func TestPiecesOfSignaturesAreNoHeaders(t *testing.T) {
	for _, header := range []string{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r"} {
		for n := range len(header) + 1 {
			if more, err := missing([]byte(header[:n])); more <= 0 || err != nil {
				t.Errorf("%q: %d more, %v", header[:n], more, err)
			}
		}
	}
}
