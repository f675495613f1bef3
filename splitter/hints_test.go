package splitter

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"unicode/utf16"

	"linesplit/internal/loglimit"
)

func packed(t *testing.T, w io.WriteCloser, to *bytes.Buffer) string {
	t.Helper()
	if _, err := io.WriteString(w, strings.Repeat("a line\n", 1000)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return to.String()
}

// clientHello returns the first bytes of a TLS client.
func clientHello(t *testing.T) string {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		defer near.Close()
		tls.Client(near, &tls.Config{InsecureSkipVerify: true}).Handshake()
	}()
	b := make([]byte, 4096)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestFormatsAreRecognized(t *testing.T) {
	var gz, z bytes.Buffer
	var wide strings.Builder
	for _, u := range utf16.Encode([]rune("one line\n")) {
		wide.WriteString(string([]byte{byte(u), byte(u >> 8)}))
	}
	for in, want := range map[string]string{
		packed(t, gzip.NewWriter(&gz), &gz):                     "gzip",
		packed(t, zlib.NewWriter(&z), &z):                       "zlib",
		clientHello(t):                                          "TLS",
		"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n":              "HTTP",
		"POST /loki/api/v1/push HTTP/1.0\r\n":                   "HTTP",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                      "HTTP/2",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\na line\n":        "a PROXY protocol header",
		"2W\x00\x00\x00\x012C":                                  "Beats (Lumberjack)",
		"\x93\xa3tag\xce\x00\x00\x00\x00\x81\xa1a\xa1b":         "Fluent Forward",
		"83 <34>1 2003-10-11T22:14:15.003Z mymachine su - ID47": "syslog with octet counting (RFC 6587)",
		"\xff\xfeo\x00n\x00e\x00":                               "UTF-16",
		wide.String():                                           "UTF-16",
		// The same bytes: they were said to look like UTF-16.
		"a\x00b\x00c\x00":               "UTF-16, or NUL-delimited records of one character",
		"a\x00\n\x00":                   "UTF-16",
		"SSH-2.0-OpenSSH_9.9\r\n":       "SSH",
		"one line\n":                    "",
		`{"message":"one line"}` + "\n": "",
		"<34>1 2003-10-11T22:14:15.003Z mymachine su\n": "",
		"INFO started\n":                  "",
		"GET /a 200 12ms\n":               "",
		"xylophone\n":                     "",
		"5 <b>five</b>\n":                 "",
		"\xef\xbb\xbfa byte order mark\n": "",
		"\n":                              "",
		"":                                "",
	} {
		got := ""
		if f := formatOf([]byte(in), false); f != nil {
			got = f.name
		}
		if got != want {
			t.Errorf("%.40q looks like %q, want %q", in, got, want)
		}
	}
}

// Gzip and TLS bytes were forwarded as lines, and NUL-delimited records dropped as one endless
// line, without a word in either case.
func TestSendersOfOtherThingsAreNamedOnce(t *testing.T) {
	var gz bytes.Buffer
	compressed := packed(t, gzip.NewWriter(&gz), &gz)
	for name, tt := range map[string]struct{ in, want string }{
		"gzip":   {compressed, "looks_like=gzip"},
		"TLS":    {clientHello(t), "looks_like=TLS"},
		"GELF":   {strings.Repeat(`{"version":"1.1","short_message":"x"}`+"\x00", 1000), `looks_like="NUL-delimited records"`},
		"CR":     {strings.Repeat("one line\r", 1000), `looks_like="CR-delimited records"`},
		"CRLF":   {strings.Repeat("one line\r\n", 1000), ""},
		"octets": {strings.Repeat("13 <34>1 message", 3), `looks_like="syslog with octet counting (RFC 6587)"`},
		"lines":  {"one line\nand a NUL \x00\n\x1f\x8b\x08\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log testLog
			r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{MaxLine: 4096}, Logger: log.logger()})
			for range 3 {
				c := dial(t, r.addr)
				for rest := tt.in; rest != ""; { // also where the mark comes in pieces
					n := min(len(rest), 2)
					if len(tt.in)-len(rest) >= 16 {
						n = len(rest)
					}
					write(t, c, rest[:n])
					rest = rest[n:]
				}
				c.Close()
			}
			r.until("all senders", func() bool { s := r.Stats(); return s.Accepted == 3 && s.Connections == 0 })
			hints := log.with("do not look like lines")
			if tt.want == "" {
				if len(hints) != 0 {
					t.Errorf("got %q, want no hint", hints)
				}
				return
			}
			if len(hints) != 1 || !strings.Contains(hints[0], tt.want) || !strings.Contains(hints[0], "advice=") ||
				!strings.Contains(hints[0], "peer=127.0.0.1:") || !strings.Contains(hints[0], "level=WARN") {
				t.Errorf("got %q, want one warning with %s", hints, tt.want)
			}
		})
	}
}

// A stranger with many addresses must not flood the log or the memory.
func TestHintsAreBounded(t *testing.T) {
	var h hints
	given := 0
	for i := range 10 * maxHinted {
		if h.first(hintKey{net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)).String(), "gzip"}) {
			given++
		}
	}
	if given != 10*maxHinted || len(h.given) > maxHinted {
		t.Errorf("%d first hints, %d in memory", given, len(h.given))
	}
}

// Senders of one format used up the warnings of all others.
func TestFormatsDoNotHideEachOther(t *testing.T) {
	log := new(testLog)
	h := hints{logs: loglimit.Kinds{Burst: hintBurst}}
	for _, format := range []string{"gzip", "zstd"} {
		for range 2 * hintBurst {
			h.logs.Of(format).Warn(log.logger(), format)
		}
		if n := len(log.with("msg=" + format)); n != hintBurst {
			t.Errorf("%s was logged %d times at once, want %d", format, n, hintBurst)
		}
	}
	h.logs.Flush()
	if n := len(log.with("")); n != 2*(hintBurst+1) {
		t.Errorf("%d log lines after the flush", n)
	}
}
