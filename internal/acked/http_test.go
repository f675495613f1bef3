package acked

import (
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"linesplit/internal/deadletter"
	"linesplit/linebuf"
)

func numbered(from, to int) (lines []string) {
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf(`{"n":%d}`, i))
	}
	return lines
}

func TestPost(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte("s3cret\n"), 0o600))
	for _, encoding := range []string{"", "gzip", "zstd"} {
		t.Run(encoding, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r request) { w.WriteHeader(http.StatusNoContent) })
			options := "/in?query=_msg%3Dx%26y&header=VL-Field:%20a&token-file=" + token
			if encoding != "" {
				options += "&compress=" + encoding
			}
			c := s.dial(t, "http", options)
			lines := numbered(0, 1000)
			b := buffer(lines...)
			for i := range 3 { // over one connection, with the same compressor
				write(t, c, b, false)
				waitFor(t, c, acknowledged((i+1)*len(b.B)))
				b.Batch = linebuf.Mark{}
			}
			got := s.requests()
			if len(got) != 3 {
				t.Fatalf("%d requests", len(got))
			}
			for _, r := range got {
				if body := decode(t, encoding, r.body); body != string(b.B) {
					t.Errorf("%d bytes, want %d: %.80q", len(body), len(b.B), body)
				}
				h := r.header
				if r.url != "/in?_msg=x&y" || h.Get("Authorization") != "Bearer s3cret" || h.Get("Vl-Field") != "a" ||
					h.Get("Content-Type") != "application/x-ndjson" || h.Get("User-Agent") != "linesplit/test" {
					t.Errorf("%s %v", r.url, h)
				}
			}
		})
	}
}

func decode(t *testing.T, encoding, body string) string {
	t.Helper()
	r := io.Reader(strings.NewReader(body))
	switch encoding {
	case "gzip":
		z, err := gzip.NewReader(r)
		must(t, err)
		r = z
	case "zstd":
		z, err := zstd.NewReader(r)
		must(t, err)
		defer z.Close()
		r = z
	}
	text, err := io.ReadAll(r)
	must(t, err)
	return string(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A server that refuses a batch because of some of its lines gets all the others. Each refused line
// is in the dead-letter file with the answer.
func TestRefusedLinesAreIsolated(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusUnprocessableEntity} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			var stored []string
			s := serve(t, func(w http.ResponseWriter, r request) {
				if strings.Contains(r.body, "bad") {
					w.WriteHeader(status)
					io.WriteString(w, "what is\nthis?")
					return
				}
				stored = append(stored, r.lines()...)
			})
			name := filepath.Join(t.TempDir(), "dead")
			file, err := deadletter.Open(name, 1<<20)
			must(t, err)
			defer file.Close()
			var log lockedBuffer
			rejects := testRejects(t, &log)
			rejects.file = file
			c := s.dialWith(t, "http", "/", rejects)
			lines := numbered(0, 1000)
			lines[0], lines[333], lines[334], lines[999] = "bad 0", "bad 333", "bad 334", "bad 999"
			b := buffer(lines...)
			write(t, c, b, false)
			p := waitFor(t, c, acknowledged(len(b.B)))
			if p.Err != nil || p.RejectedLines != 4 || p.RejectedBytes != uint64(len("bad 0bad 333bad 334bad 999")+4) {
				t.Errorf("%+v", p)
			}
			good := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, "bad") })
			if !slices.Equal(stored, good) {
				t.Errorf("%d lines stored, want %d", len(stored), len(good))
			}
			text, err := os.ReadFile(name)
			must(t, err)
			want := fmt.Sprintf(`"answer":"%d %s: \"what is this?\"","line":"bad 333"}`, status, http.StatusText(status))
			if strings.Count(string(text), "\n") != 4 || !strings.Contains(string(text), want) {
				t.Errorf("%s, want %s", text, want)
			}
			if !strings.Contains(log.String(), `msg="lines refused"`) || !strings.Contains(log.String(), "lines=4") {
				t.Error(log.String())
			}
		})
	}
}

// A body that is too large is halved, and later ones are made no larger.
func TestTooLarge(t *testing.T) {
	var stored, refused int
	s := serve(t, func(w http.ResponseWriter, r request) {
		if len(r.body) > 3000 {
			refused++
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		stored += len(r.lines())
	})
	c := s.dial(t, "http", "/")
	total := 0
	for range 3 {
		b := buffer(numbered(0, 1000)...)
		write(t, c, b, false)
		total += len(b.B)
		waitFor(t, c, acknowledged(total))
	}
	if stored != 3000 || refused != 2 {
		t.Errorf("%d lines stored, %d refusals", stored, refused)
	}
}

// A server may ask to wait, with or without a time. The lines wait, and are not sent elsewhere.
func TestWaits(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, r request) {
		switch n++; n {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	var log lockedBuffer
	c := s.dialWith(t, "http", "/", testRejects(t, &log))
	b := buffer(numbered(0, 10)...)
	began := time.Now()
	write(t, c, b, false)
	p := waitFor(t, c, acknowledged(len(b.B)))
	if took := time.Since(began); p.Err != nil || took < time.Second+firstWait {
		t.Errorf("%+v after %v", p, took)
	}
	got := s.requests()
	if len(got) != 3 || got[0].id != got[2].id || got[0].body != got[2].body || got[0].id == "" {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(log.String(), `msg="target asks to wait"`) {
		t.Error(log.String())
	}
}

// Answers that are neither of these end the connection, whose lines go elsewhere. The error says
// what the server has answered and, where that helps, what to do.
func TestFailingAnswers(t *testing.T) {
	hijack := func(text string) func(http.ResponseWriter, request) {
		return func(w http.ResponseWriter, _ request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			io.WriteString(conn, text)
			conn.Close()
		}
	}
	status := func(code int, header ...string) func(http.ResponseWriter, request) {
		return func(w http.ResponseWriter, _ request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			io.WriteString(w, "oh")
		}
	}
	for name, tt := range map[string]struct {
		answer func(http.ResponseWriter, request)
		want   string
	}{
		"500":          {status(500), `500 Internal Server Error: "oh"`},
		"502":          {status(502), "502 Bad Gateway"},
		"401":          {status(401), "token-file"},
		"404":          {status(404), "is the path right?"},
		"redirect":     {status(307, "Location", "http://elsewhere/"), "to http://elsewhere/ (write that address"},
		"cut off":      {hijack(""), "EOF"},
		"half a line":  {hijack("HTTP/1.1 20"), "malformed"},
		"no HTTP":      {hijack("220 mail ready\r\n"), "malformed"},
		"cut body":     {hijack("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"), "unexpected EOF"},
		"bad chunk":    {hijack("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "invalid"},
		"much header":  {hijack("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxAnswer)), "header"},
		"bad status":   {hijack("HTTP/1.1 099 x\r\n\r\n"), ""},
		"two lengths":  {hijack("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), "Content-Length"},
		"early hints":  {hijack(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000)), "broken"},
		"switches":     {hijack("HTTP/1.1 101 Switching Protocols\r\n\r\n"), "101"},
		"not answered": {func(w http.ResponseWriter, r request) { hijackAndHold(t, w) }, "not answered in time: timeout=300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tt.answer)
			options := "/"
			if name == "not answered" {
				options = "/?timeout=300ms"
			}
			c := s.dial(t, "http", options)
			b := buffer("a", "b")
			write(t, c, b, false)
			p := waitFor(t, c, failed)
			if !strings.Contains(p.Err.Error(), tt.want) || p.Known != 0 || p.Acked != 0 {
				t.Errorf("%v: %+v", p.Err, p)
			}
		})
	}
}

// hijackAndHold keeps a connection open, without an answer, until the test ends.
func hijackAndHold(t *testing.T, w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
}

// A server that answers before it has read the request has not taken the lines.
func TestEarlyAnswer(t *testing.T) {
	l := listenRaw(t, func(conn io.ReadWriteCloser) {
		conn.Read(make([]byte, 1))
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		<-t.Context().Done() // reads nothing more
	})
	o := &Options{Rejects: testRejects(t, io.Discard)}
	c, err := Dial(t.Context(), address(t, "http://"+l+"/?batch-bytes=32MiB"), o)
	must(t, err)
	defer c.Close()
	b := buffer(strings.Repeat("x", 30<<20)) // more than sockets hold
	write(t, c, b, false)
	if p := waitFor(t, c, failed); !strings.Contains(p.Err.Error(), "before all of the request was sent") || p.Known != 0 {
		t.Error(p.Err)
	}
}

// A server ends connections on which nothing comes. The next request makes another one.
func TestIdleConnectionEnds(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r request) {})
	c := s.dial(t, "http", "/")
	total := 0
	for range 3 {
		b := buffer("a")
		write(t, c, b, false)
		total += len(b.B)
		if p := waitFor(t, c, acknowledged(total)); p.Err != nil {
			t.Fatal(p.Err)
		}
		s.CloseClientConnections()
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "99999999999999999999": 0, "4294967295": maxAfter,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
		"Fri, 02 Jan 2099 03:04:00 GMT": maxAfter,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// A server that has never taken a line is not believed when it refuses all of them: the address may
// be wrong, and the lines would be dropped.
func TestDoubt(t *testing.T) {
	good := false
	s := serve(t, func(w http.ResponseWriter, r request) {
		if !good {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, "no such thing")
		}
	})
	rejects := testRejects(t, io.Discard)
	b := buffer(numbered(0, 100)...)
	for range 2 {
		c := s.dialWith(t, "http", "/", rejects)
		write(t, c, b, false)
		if p := waitFor(t, c, failed); !strings.Contains(p.Err.Error(), `400 Bad Request: "no such thing" (is the address right?)`) {
			t.Fatal(p.Err)
		}
	}
	if n := len(s.requests()); n > 50 {
		t.Errorf("%d requests", n)
	}
	good = true
	c := s.dialWith(t, "http", "/", rejects)
	write(t, c, b, false)
	waitFor(t, c, acknowledged(len(b.B)))
	good = false
	more := buffer("bad")
	write(t, c, more, false)
	if p := waitFor(t, c, acknowledged(len(b.B)+len(more.B))); p.Err != nil || p.RejectedLines != 1 {
		t.Errorf("%+v", p)
	}
}

// A port with TLS answers a plain request with 400, for which no line is to blame.
func TestPortWithTLS(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	o := &Options{Rejects: testRejects(t, io.Discard)}
	c, err := Dial(t.Context(), address(t, "http://"+s.Listener.Addr().String()), o)
	must(t, err)
	defer c.Close()
	write(t, c, buffer("a"), false)
	if p := waitFor(t, c, failed); !strings.Contains(p.Err.Error(), "it speaks TLS: write https://") {
		t.Error(p.Err)
	}
}
