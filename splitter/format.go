package splitter

import (
	"bytes"
	"regexp"
)

// format is something else than lines that senders are known to send.
type format struct {
	name, advice string
	datagrams    bool                // also looked for in datagrams
	begins       func(b []byte) bool // reports whether a stream that begins with b is of the format
}

const (
	uncompress = "switch compression off at the sender: compressed data has no lines to split at"
	proxied    = "name the proxy in -proxy-protocol-from, or switch the PROXY protocol off there"
)

// These formats are other framings.
const (
	octetCounting = "syslog with octet counting (RFC 6587)"
	wideOrNUL     = "UTF-16, or NUL-delimited records of one character"
)

// isFraming reports whether f is only another framing. f may be nil.
func (f *format) isFraming() bool {
	return f != nil && (f.name == octetCounting || f.name == wideOrNUL)
}

var nulDelimited = format{
	name:   "NUL-delimited records",
	advice: "listen with ?framing=nul, or have the sender end its records with a newline: without newlines everything is one line",
}

var crDelimited = format{
	name:   "CR-delimited records",
	advice: "have the sender end its records with a newline, not a carriage return: without newlines everything is one line",
}

// formats are the known ones. None of them can be mistaken for lines of text.
var formats = []format{
	{"gzip", uncompress, true, prefix("\x1f\x8b\x08")},
	{"zlib", uncompress, true, prefix("x\x01", "x\x9c", "x\xda")},
	{"zstd", uncompress, true, prefix("\x28\xb5\x2f\xfd")},
	{"lz4", uncompress, true, prefix("\x04\x22\x4d\x18")},
	{"snappy", uncompress, true, prefix("\xff\x06\x00\x00sNaPpY")},
	{"xz", uncompress, true, prefix("\xfd7zXZ\x00")},
	{"bzip2", uncompress, false, matches(`^BZh[1-9]1AY&SY`)},
	{"chunked GELF", "send GELF over TCP, uncompressed and with newlines, in place of UDP", true, prefix("\x1e\x0f")},
	{"TLS", "listen with tls:// and -tls-cert, or switch TLS off at the sender", false,
		prefix("\x16\x03\x00", "\x16\x03\x01", "\x16\x03\x02", "\x16\x03\x03")},
	{"HTTP/2", "use an HTTP server, or -mode connection in front of one", false, prefix("PRI * HTTP/2.0\r\n")},
	{"HTTP", "use an HTTP server, or -mode connection in front of one; health probes belong to -admin", false,
		matches(`^[A-Z]{3,7} [^ \n]+ HTTP/1\.[01]\r?\n`)},
	{"a PROXY protocol header", proxied, false,
		prefix("PROXY TCP", "PROXY UNKNOWN", "\r\n\r\n\x00\r\nQUIT\n")},
	{"Beats (Lumberjack)", "let Filebeat write to Logstash, or use -mode connection", false, prefix("1W\x00", "2W\x00")},
	{"Fluent Forward", "use an output that writes lines, or -mode connection", false, fluentForward},
	{octetCounting, "listen with ?framing=octet, or with ?framing=auto where other senders end their messages " +
		"with newlines", false, matches(`^[1-9][0-9]{0,5} <[0-9]{1,3}>`)},
	{"UTF-16", "have the sender write UTF-8", false, isUTF16},
	{wideOrNUL,
		"have the sender write UTF-8, and end its records with a newline", false, isWide},
	{"SSH", "use -mode connection", false, prefix("SSH-2.0-")},
}

// formatOf returns the format of a stream or datagram that begins with b, nil for lines.
func formatOf(b []byte, datagram bool) *format {
	for i := range formats {
		if f := &formats[i]; (f.datagrams || !datagram) && f.begins(b) {
			return f
		}
	}
	return nil
}

func prefix(any ...string) func([]byte) bool {
	return func(b []byte) bool {
		for _, p := range any {
			if len(b) >= len(p) && string(b[:len(p)]) == p {
				return true
			}
		}
		return false
	}
}

func matches(pattern string) func([]byte) bool { return regexp.MustCompile(pattern).Match }

// fluentForward recognizes a MessagePack array of two to four elements whose first one, the tag, is
// a string.
func fluentForward(b []byte) bool {
	return len(b) >= 2 && b[0] >= 0x92 && b[0] <= 0x94 && (b[1]&0xe0 == 0xa0 || b[1] == 0xd9)
}

// isUTF16 recognizes a byte order mark, or text with a newline in which every other byte is NUL.
func isUTF16(b []byte) bool {
	if len(b) >= 2 && (b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff) {
		return true
	}
	return isWide(b) && bytes.IndexByte(b, '\n') >= 0
}

// isWide recognizes two characters of ASCII in UTF-16. Records of one character with NUL bytes
// between them are the same bytes.
func isWide(b []byte) bool {
	return len(b) >= 4 && (b[0] == 0) != (b[1] == 0) && (b[0] == 0) == (b[2] == 0) && (b[1] == 0) == (b[3] == 0)
}
