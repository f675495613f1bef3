package framing

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// frame returns records in framing f, without any check: none may contain the delimiter.
func frame(f Framing, records ...string) string {
	var b strings.Builder
	for _, r := range records {
		switch f {
		case Octet:
			fmt.Fprintf(&b, "%d %s", len(r), r)
		case NUL:
			b.WriteString(r + "\x00")
		default:
			b.WriteString(r + "\n")
		}
	}
	return b.String()
}

func TestEndsOfRecords(t *testing.T) {
	for _, f := range []Framing{Newline, NUL, Octet} {
		records := []string{"a", "", "some text", strings.Repeat("x", 120), "9 b"}
		if f == Octet {
			records[1] = "\n\x00\n"
		}
		all := []byte(frame(f, records...))
		if n := f.Count(all); n != len(records) {
			t.Errorf("%v: %d records in %q, want %d", f, n, all, len(records))
		}
		at := 0
		for i, r := range records {
			end := at + len(frame(f, r))
			for pos := at; pos < end; pos++ {
				if got := f.Start(all, pos); got != at {
					t.Errorf("%v: record %d begins at %d, of byte %d: %d", f, i, at, pos, got)
				}
				if got := f.End(all, pos+1); got != end {
					t.Errorf("%v: record %d ends at %d, of byte %d: %d", f, i, end, pos, got)
				}
			}
			if got := f.Count(all[:end]); got != i+1 {
				t.Errorf("%v: %d records before %d, want %d", f, got, end, i+1)
			}
			if got := f.Count(all[:end-1]); got != i {
				t.Errorf("%v: %d records before %d, want %d", f, got, end-1, i)
			}
			at = end
		}
		if f.End(all, 0) != 0 || f.Start(all, len(all)) != len(all) {
			t.Errorf("%v: wrong at the ends", f)
		}
	}
}

func TestHeader(t *testing.T) {
	for _, tc := range []struct {
		in     string
		length int
		count  int64
	}{
		{"", 0, 0}, {"1", 0, 0}, {"12", 0, 0}, {"12 ", 3, 12}, {"12 <34>", 3, 12}, {"9999999999 x", 11, 9999999999},
		{"9999999999", 0, 0}, {"10000000000", -1, 0}, {"0 ", -1, 0}, {"0", -1, 0}, {"01 a", -1, 0}, {" 1 a", -1, 0},
		{"1a", -1, 0}, {"<34>", -1, 0}, {"-1 a", -1, 0}, {"+1 a", -1, 0}, {"1\t", -1, 0}, {"\n", -1, 0},
	} {
		if length, count := Header([]byte(tc.in)); length != tc.length || count != tc.count {
			t.Errorf("%q: %d, %d; want %d, %d", tc.in, length, count, tc.length, tc.count)
		}
	}
	for _, n := range []int{1, 9, 10, 99, 100, 12345} {
		if got := AppendHeader(nil, n); len(got) != HeaderSize(n) || string(got) != strconv.Itoa(n)+" " {
			t.Errorf("%d: %q of %d bytes", n, got, HeaderSize(n))
		}
	}
}

func TestRewriteExamples(t *testing.T) {
	for _, tc := range []struct {
		from, to Framing
		rule     Embedded
		in, want string
		outcome  Outcome
	}{
		{Newline, Octet, Escape, "a\n\nbcd\n", "1 a1 \n3 bcd", Outcome{Records: 3}},
		{Octet, Newline, Escape, "3 a\nb2 c\n1 \n", "a\\nb\nc\n\n", Outcome{Records: 3, Altered: 1}},
		{Octet, Newline, Space, "5 a\n\nb\n", "a  b\n", Outcome{Records: 1, Altered: 1}},
		{Octet, Newline, Refuse, "3 a\nb1 c", "c\n", Outcome{Records: 1, Refused: 1, RefusedBytes: 5}},
		{Octet, NUL, Escape, "3 a\x00b3 c\nd", "a\\u0000b\x00c\nd\x00", Outcome{Records: 2, Altered: 1}},
		{NUL, Newline, Escape, "{\n}\n\x00\x00", "{\\n}\n\n", Outcome{Records: 2, Altered: 1}},
		{NUL, Octet, Refuse, "a\nb\x00", "3 a\nb", Outcome{Records: 1}},
		{Newline, NUL, Refuse, "a\x00b\nc\n", "c\x00", Outcome{Records: 1, Refused: 1, RefusedBytes: 4}},
	} {
		w := Rewrite{tc.from, tc.to, tc.rule}
		got, o := w.Append([]byte("before"), []byte(tc.in))
		if string(got) != "before"+tc.want || o != tc.outcome {
			t.Errorf("%+v of %q: %q, %+v; want %q, %+v", w, tc.in, got[6:], o, tc.want, tc.outcome)
		}
	}
}

// FuzzRewrite checks that Append writes or refuses each record, writes it as expected does, and
// stays within Bound.
func FuzzRewrite(f *testing.F) {
	f.Add([]byte("a\nb\x00\x00cd\n\x00"), uint8(2), uint8(0), uint8(0))
	f.Add([]byte("\n\x00\n"), uint8(1), uint8(0), uint8(1))
	f.Add([]byte("a\n\x00\x00b\n"), uint8(0), uint8(1), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, from, to, rule uint8) {
		w := Rewrite{Framing(from % 3), Framing(to % 3), Embedded(rule % 3)}
		var src []byte
		var records [][]byte
		for r := range bytes.SplitSeq(in, []byte("\xff")) { // 0xff stands between the records
			if w.From != Octet {
				r = bytes.ReplaceAll(r, w.From.separator(), []byte("."))
			} else if len(r) == 0 {
				r = []byte("\n")
			}
			records = append(records, r)
			src = append(src, frame(w.From, string(r))...)
		}
		got, o := w.Append(nil, src)
		if o.Records+o.Refused != len(records) || w.To.Count(got) != o.Records || len(got) > w.Bound(src, len(records)) {
			t.Fatalf("%+v of %q: %q, %+v, bound %d", w, src, got, o, w.Bound(src, len(records)))
		}
		for _, r := range records {
			want, refused := expected(r, w)
			if refused {
				continue
			}
			body, size := w.To.First(got)
			if string(body) != want {
				t.Fatalf("%+v of %q: %q, want %q", w, r, body, want)
			}
			got = got[size:]
		}
		if len(got) > 0 {
			t.Fatalf("%+v of %q: %q is left", w, src, got)
		}
	})
}

// expected returns the body of record r after w, found with package strings.
func expected(r []byte, w Rewrite) (want string, refused bool) {
	if w.To == Octet {
		if len(r) == 0 {
			return "\n", false
		}
		return string(r), false
	}
	d := string(w.To.separator())
	s := strings.TrimSuffix(string(r), d)
	if strings.Contains(s, d) && w.Embedded == Refuse {
		return "", true
	}
	with := map[string]string{"\n": `\n`, "\x00": `\u0000`}[d]
	if w.Embedded == Space {
		with = " "
	}
	return strings.ReplaceAll(s, d, with), false
}

func TestNames(t *testing.T) {
	for _, f := range []Framing{Newline, NUL, Octet, Auto} {
		if got, err := ParseSender(f.String()); got != f || err != nil {
			t.Errorf("%v: %v, %v", f, got, err)
		}
		if got, err := ParseTarget(f.String()); (got != f || err != nil) != (f == Auto) {
			t.Errorf("target %v: %v, %v", f, got, err)
		}
	}
	for _, e := range []Embedded{Escape, Space, Refuse} {
		if got, err := ParseEmbedded(e.String()); got != e || err != nil {
			t.Errorf("%v: %v, %v", e, got, err)
		}
	}
	if _, err := ParseTarget("lf"); err == nil || !strings.Contains(err.Error(), `"lf"`) {
		t.Error(err)
	}
	if _, err := ParseEmbedded("keep"); err == nil {
		t.Error("no error")
	}
	if Framing(9).String() != "Framing(9)" || Embedded(9).String() != "Embedded(9)" {
		t.Error("an unknown value has no name")
	}
}
