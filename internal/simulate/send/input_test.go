package send

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"linesplit/internal/simulate/record"
)

const zeek = "{\"a\":1}\n\r\n\x00\xff\nlast, without a newline"

func TestInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zeek.log")
	if err := os.WriteFile(file, []byte(zeek), 0o600); err != nil {
		t.Fatal(err)
	}
	opened := func(t *testing.T) io.Reader { return openFile(t, file) }
	pass := []string{`{"a":1}`, "\r", "\x00\xff", "last, without a newline"}
	for _, tt := range []struct {
		name  string
		input func(*testing.T) io.Reader
		o     Options
		want  []string
	}{
		{name: "file", input: opened, want: pass},
		{name: "file three times", input: opened, o: Options{Repeat: 3},
			want: append(append(pass[:4:4], pass...), pass...)},
		{name: "pipe", input: piped, want: pass},
		{name: "pipe twice", input: piped, o: Options{Repeat: 2}, want: append(pass[:4:4], pass...)},
		{name: "no more than lines", input: opened, o: Options{Repeat: -1, Lines: 6},
			want: append(pass[:4:4], pass[:2]...)},
		{name: "at a rate", input: opened, o: Options{Rate: 1000}, want: pass},
		{name: "byte by byte", want: pass,
			input: func(*testing.T) io.Reader { return iotest.OneByteReader(strings.NewReader(zeek)) }},
		{name: "data with the end", want: pass,
			input: func(*testing.T) io.Reader { return iotest.DataErrReader(strings.NewReader(zeek)) }},
		{name: "empty", input: func(*testing.T) io.Reader { return strings.NewReader("") }, o: Options{Repeat: -1}},
		{name: "one client a line", input: opened, o: Options{Mix: Mix{{FireAndForget, 1}}, Clients: 100}, want: pass},
		{name: "slowly", input: opened, o: Options{Mix: Mix{{Slow, 1}}, Pause: time.Microsecond}, want: pass},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, "tcp", nil, readAll)
			o := tt.o
			o.To, o.Input = []Dial{r.dial()}, tt.input(t)
			s := runAll(t, o)
			r.stop()
			_, _, torn, lines := r.counts()
			if o.Clients > 0 { // concurrent clients send in any order
				lines = append([]string(nil), lines...)
				for i, want := range tt.want {
					for j := i; j < len(lines); j++ {
						if lines[j] == want {
							lines[i], lines[j] = lines[j], lines[i]
						}
					}
				}
			}
			if !reflect.DeepEqual(lines, tt.want) || torn != 0 || s.Numbered || s.Lines != uint64(len(tt.want)) {
				t.Errorf("%q, %d torn, %s", lines, torn, text(s))
			}
		})
	}
}

func openFile(t *testing.T, file string) io.Reader {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// piped returns the reading end of a pipe that contains zeek.
func piped(t *testing.T) io.Reader {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, zeek)
	w.Close()
	t.Cleanup(func() { r.Close() })
	return r
}

// Clients share the input: each line is sent once.
func TestInputIsShared(t *testing.T) {
	g := record.NewGenerator(7, record.Length{})
	var all []byte
	for range 5000 {
		all = g.Append(all, time.Now())
	}
	r := receive(t, "tcp", nil, readAll)
	s := runAll(t, Options{To: []Dial{r.dial()}, Connections: 4, Input: iotest.HalfReader(bytes.NewReader(all))})
	r.stop()
	if s.Lines != 5000 || r.received() != 5000 || s.Bytes != uint64(len(all)) {
		t.Errorf("%d received, %s", r.received(), text(s))
	}
}

func TestBadInput(t *testing.T) {
	r := receive(t, "tcp", nil, readAll)
	for name, input := range map[string]io.Reader{
		"fails":            io.MultiReader(strings.NewReader("one\n"), iotest.ErrReader(errors.New("disk on fire"))),
		"a long line":      io.MultiReader(strings.NewReader("one\n"), io.LimitReader(zeros{}, maxLine+1)),
		"too much to keep": io.MultiReader(strings.NewReader("one\n"), io.LimitReader(newlines{}, maxReplay)),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Run(t.Context(), Options{To: []Dial{r.dial()}, Input: input, Repeat: 2}, nil)
			if err == nil || !strings.Contains(err.Error(), "read input: ") || s.Lines == 0 {
				t.Errorf("%v, %s", err, text(s))
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type newlines struct{}

func (newlines) Read(b []byte) (int, error) {
	clear(b)
	b[len(b)-1] = '\n'
	return len(b), nil
}

// A blocked read, as from an idle terminal, does not keep a run from ending.
func TestBlockedInputDoesNotBlockTheEnd(t *testing.T) {
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	io.WriteString(w, "one\ntwo\nthr")
	r := receive(t, "tcp", nil, readAll)
	o := Options{To: []Dial{r.dial()}, Connections: 3, Input: in}
	s := runUntil(t, o, func(p Progress) bool { return p.Lines == 2 })
	if s.Lines != 2 || s.Failed() != 0 {
		t.Error(text(s))
	}
}
