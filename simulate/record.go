package simulate

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"time"
)

// Every record ends in its identity, `"event_id":"SS-NNNNNNNN-CCCCCCCC"}`: sender, sequence number and a CRC-32C of
// all that stands before the last dash, in hex. The width is fixed, so that a receiver finds it from the end of the line without
// parsing, and the checksum tells a whole line from one that was torn, or glued together from two halves that look well.
const (
	identityKey  = `,"event_id":"`
	identityTail = `"}`
	identityLen  = len(identityKey) + len("SS-NNNNNNNN-CCCCCCCC") + len(identityTail)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // read-only

// generator composes records like those of Zeek and Suricata. It belongs to one sender's goroutine.
type generator struct {
	sender uint8
	seq    uint32 // of the next record
	rng    *rand.Rand
}

func newGenerator(sender uint8) *generator {
	return &generator{sender: sender, rng: rand.New(rand.NewPCG(uint64(sender), 0x6c696e6573))}
}

// appendRecord appends one record with its newline to b.
func (g *generator) appendRecord(b []byte, now time.Time) []byte {
	start := len(b)
	switch n := g.rng.IntN(100); {
	case n < 45:
		b = g.conn(b, now)
	case n < 75:
		b = g.dns(b, now)
	case n < 92:
		b = g.http(b, now)
	default:
		b = g.alert(b, now)
	}
	b = append(b, identityKey...)
	b = appendHex(b, uint32(g.sender), 2)
	b = append(b, '-')
	b = appendHex(b, g.seq, 8)
	sum := crc32.Checksum(b[start:], castagnoli)
	b = append(b, '-')
	b = appendHex(b, sum, 8)
	b = append(b, identityTail...)
	g.seq++
	return append(b, '\n')
}

// identify returns who sent a line, without its newline, and as which number. It is false for anything but a whole record.
func identify(line []byte) (sender uint8, seq uint32, ok bool) {
	if len(line) <= identityLen || line[0] != '{' {
		return 0, 0, false
	}
	id := line[len(line)-identityLen:]
	key, id := id[:len(identityKey)], id[len(identityKey):]
	if string(key) != identityKey || string(id[20:]) != identityTail || id[2] != '-' || id[11] != '-' {
		return 0, 0, false
	}
	from, ok1 := parseHex(id[:2])
	seq, ok2 := parseHex(id[3:11])
	sum, ok3 := parseHex(id[12:20])
	if !ok1 || !ok2 || !ok3 {
		return 0, 0, false
	}
	covered := line[:len(line)-len("-CCCCCCCC")-len(identityTail)]
	return uint8(from), seq, crc32.Checksum(covered, castagnoli) == sum
}

const hexDigits = "0123456789abcdef"

func appendHex(b []byte, v uint32, width int) []byte {
	for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

func parseHex(digits []byte) (v uint32, ok bool) {
	for _, c := range digits {
		i := bytes.IndexByte([]byte(hexDigits), c)
		if i < 0 {
			return 0, false
		}
		v = v<<4 | uint32(i)
	}
	return v, true
}

// The records: what a sensor at a company's edge sees all day.

var (
	services   = []string{"ssl", "http", "dns", "ssh", "smtp", "ntp"}
	ports      = []int64{443, 80, 53, 22, 25, 123}
	states     = []string{"SF", "S0", "S1", "REJ", "RSTO", "RSTR", "OTH"}
	histories  = []string{"ShADadFf", "ShADadfF", "Dd", "S", "ShADadR", "Sr", "ShADadtFfT"}
	names      = []string{"www", "mail", "api", "cdn-eu-west-1", "login", "updates", "telemetry.eu", "static", "ocsp", "pool"}
	domains    = []string{"example.com", "example.org", "example.net", "intranet.example", "cloud.test", "a-rather-long-name.example"}
	queryTypes = []string{"A", "AAAA", "CNAME", "HTTPS", "PTR", "TXT", "MX"}
	methods    = []string{"GET", "GET", "GET", "POST", "HEAD", "PUT"}
	paths      = []string{"/", "/index.html", "/api/v2/orders", "/assets/app.3f9c.js", "/login?next=%2Faccount%2Fsettings%2Fnotifications", "/search?q=split+lines&page=2"}
	agents     = []string{"curl/8.5.0", "Go-http-client/2.0", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36", "kube-probe/1.30"}
	signatures = []string{"ET SCAN Suspicious inbound to mySQL port 3306", "ET POLICY Dropbox.com offsite file backup in use", "SURICATA STREAM ESTABLISHED packet out of window", `ET MALWARE \"Quoted\" beacon, possible C2 activity`}
)

func (g *generator) conn(b []byte, now time.Time) []byte {
	i := g.rng.IntN(len(services))
	b = g.zeek(b, "conn", now, ports[i])
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

func (g *generator) dns(b []byte, now time.Time) []byte {
	b = g.zeek(b, "dns", now, 53)
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

func (g *generator) http(b []byte, now time.Time) []byte {
	b = g.zeek(b, "http", now, 80)
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

// alert is Suricata's, with an object in the object.
func (g *generator) alert(b []byte, now time.Time) []byte {
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

// zeek appends what all of Zeek's records begin with.
func (g *generator) zeek(b []byte, path string, now time.Time, port int64) []byte {
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

func (g *generator) address(b []byte, network int64) []byte {
	b = strconv.AppendInt(b, network, 10)
	for range 3 {
		b = append(b, '.')
		b = strconv.AppendInt(b, g.rng.Int64N(256), 10)
	}
	return b
}

func (g *generator) hostname(b []byte) []byte {
	b = append(b, pick(g, names)...)
	b = append(b, '.')
	return append(b, pick(g, domains)...)
}

func pick(g *generator, from []string) string { return from[g.rng.IntN(len(from))] }

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
