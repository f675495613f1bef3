package acked

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"linesplit/linebuf"
)

// BenchmarkHTTP sends lines of a log to a server that discards them, over one connection. Both are
// in this process.
func BenchmarkHTTP(b *testing.B) {
	for _, compress := range []string{"", "gzip", "zstd"} {
		b.Run("compress="+compress, func(b *testing.B) {
			s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
			}))
			defer s.Close()
			options := "/"
			if compress != "" {
				options += "?compress=" + compress
			}
			o := &Options{Rejects: testRejects(b, io.Discard)}
			c, err := Dial(b.Context(), address(b, s.URL+options), o)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			lines := logLines(64 << 10)
			b.SetBytes(int64(len(lines.B)))
			b.ReportAllocs()
			for b.Loop() {
				lines.Origin, lines.Batch = linebuf.Mark{}, linebuf.Mark{}
				c.Announce(lines, len(lines.B), false)
				if _, err := c.Write(lines.B, func() error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// logLines returns at least size bytes of lines that compress like those of a web server's log.
func logLines(size int) *linebuf.Buffer {
	l := &linebuf.Buffer{}
	for i := 0; len(l.B) < size; i++ {
		l.B = fmt.Appendf(l.B, `{"ts":"2026-11-30T13:00:00.%09dZ","host":"web-%d","path":"/api/v1/items/%d","status":%d,"bytes":%d}`+"\n",
			i*7919%1e9, i%13, i*31%9973, 200+i%5, i*i%100_000)
		l.Lines++
	}
	return l
}
