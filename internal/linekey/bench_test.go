package linekey

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkFind looks for the key of lines of 600 bytes. The rate counts whole lines: in "last" all
// of the line has to be looked at, in "first" little of it.
func BenchmarkFind(b *testing.B) {
	text := strings.Repeat("some words of a message, ", 22)
	pairs := make([]string, 16)
	for i := range pairs {
		pairs[i] = fmt.Sprintf(`"field-%02d":"%s"`, i, strings.Repeat("v", 12+i))
	}
	for _, c := range []struct{ name, rule, line string }{
		{"json first", "json:host", `{"host":"web-17","message":"` + text + `"}`},
		{"json last", "json:host", `{"message":"` + text + `","host":"web-17"}`},
		{"json members", "json:host", `{` + strings.Join(pairs, ",") + `,"n":[1,2.5,true,null],"host":"web-17"}`},
		{"json escapes", "json:host", `{"message":"` + strings.Repeat(`C:\\temp\\a\tb \"c\" `, 27) + `","host":"web-17"}`},
		{"field first", "field:1", "web-17 " + text},
		{"field last", "field:89", strings.Repeat("words ", 88) + "web-17"},
		{"until", "until:|", strings.Repeat("x", 580) + "|3"},
	} {
		b.Run(c.name, func(b *testing.B) {
			r, line := rule(b, c.rule), []byte(c.line+"\n")
			if _, ok := r.Find(line); !ok {
				b.Fatal("there is no key")
			}
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				r.Find(line)
			}
		})
	}
}
