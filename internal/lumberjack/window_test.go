package lumberjack

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

func TestWindowBytes(t *testing.T) {
	var w Window
	for range 2 { // again after Reset
		w.Add([]byte(`{"a":1}`))
		w.Add(nil)
		w.Add([]byte(`say "hi"`))
		const want = "2W\x00\x00\x00\x03" +
			"2J\x00\x00\x00\x01\x00\x00\x00\x07" + `{"a":1}` +
			"2J\x00\x00\x00\x02\x00\x00\x00\x0e" + `{"message":""}` +
			"2J\x00\x00\x00\x03\x00\x00\x00\x18" + `{"message":"say \"hi\""}`
		if got := string(w.Bytes()); got != want || w.Events() != 3 {
			t.Errorf("%d events:\n%q, want\n%q", w.Events(), got, want)
		}
		if got := string(w.Data()); got != want[6:] {
			t.Errorf("data frames %q, want %q", got, want[6:])
		}
		w.Reset()
		if w.Events() != 0 {
			t.Errorf("%d events after Reset", w.Events())
		}
	}
}

func TestAppendCompressed(t *testing.T) {
	got := string(AppendCompressed([]byte("x"), 258, []byte("compressed")))
	if want := "x2W\x00\x00\x01\x022C\x00\x00\x00\x0acompressed"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var w Window
	w.Add([]byte("a line"))
	var z bytes.Buffer
	zw := zlib.NewWriter(&z)
	zw.Write(w.Data())
	zw.Close()
	frames := AppendCompressed(nil, w.Events(), z.Bytes())
	if size := binary.BigEndian.Uint32(frames[8:]); int(size) != len(frames)-12 {
		t.Fatalf("the length is %d, and %d bytes follow", size, len(frames)-12)
	}
	zr, err := zlib.NewReader(bytes.NewReader(frames[12:]))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(zr); err != nil || !bytes.Equal(data, w.Data()) {
		t.Errorf("%q, %v; want %q", data, err, w.Data())
	}
}

func TestResetForgetsLargeMemory(t *testing.T) {
	var w Window
	w.Add(make([]byte, maxKept/longestEscape+1))
	w.Reset()
	if cap(w.frames) > maxKept {
		t.Errorf("an empty window keeps %d bytes", cap(w.frames))
	}
}

// BenchmarkAdd adds lines of 600 bytes. The rate is that of the lines.
func BenchmarkAdd(b *testing.B) {
	text := strings.Repeat("some words of a message, ", 23)
	for _, c := range []struct{ name, line string }{
		{"text", text + "end"},
		{"quotes", strings.Repeat(`she said "no", `, 40)},
		{"object", `{"host":"web-17","message":"` + text[:560] + `"}`},
		{"members", `{` + strings.Repeat(`"name":"value","n":12.5,`, 24) + `"last":[true,null]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			var w Window
			line := []byte(c.line)
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				if w.Add(line); w.Events() == 2048 {
					w.Reset()
				}
			}
		})
	}
}
