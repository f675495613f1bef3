package health

import (
	"strings"
	"testing"
)

// packet is one of MySQL's.
func packet(payload string) string {
	return string([]byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), 0}) + payload
}

const mysqlGreeting = "\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff"

func FuzzGreeting(f *testing.F) {
	for _, s := range []string{packet(mysqlGreeting), packet("\xff\x10\x04no"), packet("\xff"), packet(""), "\xff\xff\xff\x00", "x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, err := readPacket(strings.NewReader(string(b)))
		if err != nil {
			return
		}
		if len(payload) == 0 || len(payload) > maxGreeting || len(payload) > len(b)-mysqlHeader {
			t.Fatalf("%d bytes from %q", len(payload), b)
		}
		if checkGreeting(payload) == nil && payload[0] != mysqlProtocol {
			t.Fatalf("%q passed", payload)
		}
	})
}
