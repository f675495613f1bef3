// Package record makes numbered records, each one line, and recognizes them: which sender made a
// line, as which number and when, and whether it is whole.
package record

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Length is the range of record lengths in bytes, newline included. All lengths from Min to Max
// are equally likely. The zero value gives records as long as those in logs, some 300 to
// 700 bytes.
type Length struct{ Min, Max int }

// Bounds of a Length, in bytes.
const (
	MinLength = len(bodyHead) + len(bodyTail) + identityLen + 1
	MaxLength = 16 << 20
)

// ParseLength parses "600", "16KiB", or a range: "100-64KiB". Empty text gives the zero value.
func ParseLength(text string) (Length, error) {
	if text == "" {
		return Length{}, nil
	}
	minText, maxText, isRange := strings.Cut(text, "-")
	if !isRange {
		maxText = minText
	}
	l := Length{}
	var minOK, maxOK bool
	l.Min, minOK = parseBytes(minText)
	l.Max, maxOK = parseBytes(maxText)
	if !minOK || !maxOK {
		return Length{}, errors.New("write a number of bytes or a range, such as 600 or 100-64KiB")
	}
	if l.Min < MinLength || l.Max > MaxLength || l.Min > l.Max {
		return Length{}, fmt.Errorf("must be from %d bytes to %s, the smaller number first", MinLength,
			humanize.IBytes(MaxLength))
	}
	return l, nil
}

// parseBytes refuses a comma, which humanize takes for one between thousands: 1,5KiB would be 15
// KiB.
func parseBytes(text string) (n int, ok bool) {
	bytes, err := humanize.ParseBytes(text)
	return int(min(bytes, MaxLength+1)), err == nil && !strings.Contains(text, ",")
}

// Generator composes records like those of Zeek and Suricata. It belongs to one goroutine.
type Generator struct {
	sender uint32
	length Length
	seq    uint64 // number of the next record
	rng    *rand.Rand
}

// NewGenerator returns a generator of a sender's records, starting with number 0. Generators of
// the same sender make the same records, except for their times.
func NewGenerator(sender uint32, length Length) *Generator {
	return &Generator{sender: sender, length: length, rng: rand.New(rand.NewPCG(uint64(sender), 0x6c696e6573))}
}

// Next returns the number of the next record, which equals the number of records made so far.
func (g *Generator) Next() uint64 { return g.seq }

// Append appends one record with its newline to b.
func (g *Generator) Append(b []byte, now time.Time) []byte {
	start := len(b)
	if g.length.Max > 0 {
		b = g.message(b)
	} else {
		b = g.event(b, now)
	}
	b = appendIdentity(b, start, ID{Sender: g.sender, Seq: g.seq, Sent: now})
	g.seq++
	return append(b, '\n')
}

// Start and end of the body of a record with a given length, around its text.
const (
	bodyHead = `{"message":"`
	bodyTail = `"`
)

// message appends the body of a record with a given length.
func (g *Generator) message(b []byte) []byte {
	n := g.length.Min + g.rng.IntN(g.length.Max-g.length.Min+1) - MinLength
	b = append(b, bodyHead...)
	for n > 0 {
		from := g.rng.IntN(len(text) / 2)
		part := text[from:min(len(text), from+n)]
		b = append(b, part...)
		n -= len(part)
	}
	return append(b, bodyTail...)
}

var text = strings.Repeat("connection closed by peer while reading response header from upstream, "+
	"client: 10.20.30.40, request: GET /index.html; ", 40) // read-only

// event appends the body of a record like those in logs.
func (g *Generator) event(b []byte, now time.Time) []byte {
	switch n := g.rng.IntN(100); {
	case n < 45:
		return g.conn(b, now)
	case n < 75:
		return g.dns(b, now)
	case n < 92:
		return g.http(b, now)
	}
	return g.alert(b, now)
}

// Record bodies as a network sensor at a company's edge writes them.
var (
	services  = []string{"ssl", "http", "dns", "ssh", "smtp", "ntp"}
	ports     = []int64{443, 80, 53, 22, 25, 123}
	states    = []string{"SF", "S0", "S1", "REJ", "RSTO", "RSTR", "OTH"}
	histories = []string{"ShADadFf", "ShADadfF", "Dd", "S", "ShADadR", "Sr", "ShADadtFfT"}
	names     = []string{"www", "mail", "api", "cdn-eu-west-1", "login", "updates", "telemetry.eu", "static", "ocsp",
		"pool"}
	domains = []string{"example.com", "example.org", "example.net", "intranet.example", "cloud.test",
		"a-rather-long-name.example"}
	queryTypes = []string{"A", "AAAA", "CNAME", "HTTPS", "PTR", "TXT", "MX"}
	methods    = []string{"GET", "GET", "GET", "POST", "HEAD", "PUT"}
	paths      = []string{"/", "/index.html", "/api/v2/orders", "/assets/app.3f9c.js",
		"/login?next=%2Faccount%2Fsettings%2Fnotifications", "/search?q=split+lines&page=2"}
	agents = []string{
		"curl/8.5.0",
		"Go-http-client/2.0",
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
		"kube-probe/1.30",
	}
	signatures = []string{
		"ET SCAN Suspicious inbound to mySQL port 3306",
		"ET POLICY Dropbox.com offsite file backup in use",
		"SURICATA STREAM ESTABLISHED packet out of window",
		`ET MALWARE \"Quoted\" beacon, possible C2 activity`,
	}
)

func (g *Generator) conn(b []byte, now time.Time) []byte {
	i := g.rng.IntN(len(services))
	b = g.zeekHeader(b, "conn", now, ports[i])
	b = appendString(b, "service", services[i])
	if g.rng.IntN(10) > 0 { // a connection that was never answered has neither duration nor bytes
		b = appendKey(b, "duration")
		b = strconv.AppendFloat(b, g.rng.ExpFloat64()*4, 'f', 6, 64)
		b = appendInt(b, "orig_bytes", int64(g.rng.ExpFloat64()*2000))
		b = appendInt(b, "resp_bytes", int64(g.rng.ExpFloat64()*40000))
	}
	b = appendString(b, "conn_state", pick(g, states))
	b = append(b, `,"local_orig":true,"local_resp":false,"missed_bytes":0`...)
	b = appendString(b, "history", pick(g, histories))
	b = appendInt(b, "orig_pkts", g.rng.Int64N(60))
	return appendInt(b, "resp_pkts", g.rng.Int64N(90))
}

func (g *Generator) dns(b []byte, now time.Time) []byte {
	b = g.zeekHeader(b, "dns", now, 53)
	b = appendInt(b, "trans_id", g.rng.Int64N(65536))
	b = appendKey(b, "query")
	b = g.hostname(append(b, '"'))
	b = append(b, '"')
	b = appendString(b, "qtype_name", pick(g, queryTypes))
	b = appendString(b, "rcode_name", "NOERROR")
	b = append(b, `,"answers":[`...)
	for i := range g.rng.IntN(6) {
		if i > 0 {
			b = append(b, ',')
		}
		b = g.address(append(b, '"'), 203)
		b = append(b, '"')
	}
	return append(b, `],"AA":false,"RD":true,"RA":true,"rejected":false`...)
}

func (g *Generator) http(b []byte, now time.Time) []byte {
	b = g.zeekHeader(b, "http", now, 80)
	b = appendString(b, "method", pick(g, methods))
	b = appendKey(b, "host")
	b = g.hostname(append(b, '"'))
	b = append(b, '"')
	b = appendString(b, "uri", pick(g, paths))
	b = appendString(b, "version", "1.1")
	b = appendString(b, "user_agent", pick(g, agents))
	b = appendInt(b, "request_body_len", int64(g.rng.ExpFloat64()*300))
	b = appendInt(b, "response_body_len", int64(g.rng.ExpFloat64()*20000))
	b = appendInt(b, "status_code", []int64{200, 200, 200, 204, 301, 304, 404, 503}[g.rng.IntN(8)])
	return append(b, `,"tags":[],"resp_mime_types":["text/html"]`...)
}

// alert appends a record of Suricata, which contains a nested object.
func (g *Generator) alert(b []byte, now time.Time) []byte {
	b = append(b, `{"timestamp":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000-0700")
	b = append(b, `","event_type":"alert"`...)
	b = appendInt(b, "flow_id", g.rng.Int64N(1<<50))
	b = appendKey(b, "src_ip")
	b = g.address(append(b, '"'), 198)
	b = append(b, '"')
	b = appendInt(b, "src_port", 1024+g.rng.Int64N(64000))
	b = appendKey(b, "dest_ip")
	b = g.address(append(b, '"'), 10)
	b = append(b, `","proto":"TCP","alert":{"action":"allowed","gid":1`...)
	b = appendInt(b, "signature_id", 2000000+g.rng.Int64N(60000))
	b = appendString(b, "signature", pick(g, signatures))
	b = appendInt(b, "severity", 1+g.rng.Int64N(3))
	return append(b, `},"app_proto":"tls"`...)
}

// zeekHeader appends the fields that all of Zeek's records begin with.
func (g *Generator) zeekHeader(b []byte, path string, now time.Time, port int64) []byte {
	b = append(b, `{"_path":"`...)
	b = append(b, path...)
	b = append(b, `","ts":`...)
	b = strconv.AppendFloat(b, float64(now.UnixMicro())/1e6, 'f', 6, 64)
	b = append(b, `,"uid":"C`...)
	b = strconv.AppendUint(b, g.rng.Uint64(), 36)
	b = append(b, `","id.orig_h":"`...)
	b = g.address(b, 10)
	b = append(b, '"')
	b = appendInt(b, "id.orig_p", 1024+g.rng.Int64N(64000))
	b = append(b, `,"id.resp_h":"`...)
	b = g.address(b, 192)
	b = append(b, '"')
	b = appendInt(b, "id.resp_p", port)
	return append(b, `,"proto":"tcp"`...)
}

func (g *Generator) address(b []byte, network int64) []byte {
	b = strconv.AppendInt(b, network, 10)
	for range 3 {
		b = append(b, '.')
		b = strconv.AppendInt(b, g.rng.Int64N(256), 10)
	}
	return b
}

func (g *Generator) hostname(b []byte) []byte {
	b = append(b, pick(g, names)...)
	b = append(b, '.')
	return append(b, pick(g, domains)...)
}

func pick(g *Generator, from []string) string { return from[g.rng.IntN(len(from))] }

func appendKey(b []byte, key string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

// appendString appends a field whose value needs no escaping.
func appendString(b []byte, key, value string) []byte {
	b = append(appendKey(b, key), '"')
	b = append(b, value...)
	return append(b, '"')
}

func appendInt(b []byte, key string, value int64) []byte {
	return strconv.AppendInt(appendKey(b, key), value, 10)
}
