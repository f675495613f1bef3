package discovery

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsServer answers over UDP and TCP at one port, as it is told to.
type dnsServer struct {
	*testing.T
	packets net.PacketConn
	streams net.Listener

	mu      sync.Mutex
	records map[string][]dnsmessage.Resource         // by name in lower case
	codes   map[string]dnsmessage.RCode              // of names, or of "A name" and the like
	silent  map[string]bool                          // the same, or networks, which get no answer
	delay   time.Duration                            // before each answer
	asked   map[string]int                           // questions by network
	edit    func(m *dnsmessage.Message, over string) // changes each answer; nil for none
}

func serveDNS(t *testing.T) *dnsServer {
	t.Helper()
	s := &dnsServer{T: t, records: map[string][]dnsmessage.Resource{}, codes: map[string]dnsmessage.RCode{},
		silent: map[string]bool{}, asked: map[string]int{}}
	var err error
	for range 10 { // the port may be taken on the other network
		if s.packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if s.streams, err = net.Listen("tcp", s.packets.LocalAddr().String()); err == nil {
			break
		}
		s.packets.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(s.servePackets)
	serving.Go(func() { s.serveStreams(&serving) })
	t.Cleanup(func() { s.packets.Close(); s.streams.Close(); serving.Wait() })
	return s
}

func (s *dnsServer) resolver(scheme string) resolver {
	return resolver{scheme + "://" + s.packets.LocalAddr().String()}
}

func (s *dnsServer) servePackets() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.packets.ReadFrom(buf)
		if err != nil {
			return
		}
		if out := s.answer(buf[:n], "udp"); out != nil {
			s.packets.WriteTo(out, from)
		}
	}
}

func (s *dnsServer) serveStreams(serving *sync.WaitGroup) {
	for {
		conn, err := s.streams.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			size := make([]byte, 2)
			if _, err := io.ReadFull(conn, size); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			if out := s.answer(query, "tcp"); out != nil {
				out = append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)
				conn.Write(out[:1]) // in two parts, as networks may do
				conn.Write(out[1:])
			}
		})
	}
}

func (s *dnsServer) answer(query []byte, over string) []byte {
	var in dnsmessage.Message
	if err := in.Unpack(query); err != nil || len(in.Questions) != 1 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[over]++
	q := in.Questions[0]
	name := strings.ToLower(q.Name.String())
	kind := strings.TrimPrefix(q.Type.String(), "Type") + " " + name
	if s.silent[name] || s.silent[kind] || s.silent[over] {
		return nil
	}
	if s.delay > 0 {
		time.Sleep(s.delay)
	}
	out := dnsmessage.Message{Questions: in.Questions}
	out.ID, out.Response, out.RecursionDesired, out.RecursionAvailable = in.ID, true, true, true
	records, exists := s.records[name]
	for _, r := range records {
		if r.Header.Type == q.Type {
			out.Answers = append(out.Answers, r)
		}
	}
	if !exists {
		out.RCode = dnsmessage.RCodeNameError
	}
	for _, of := range []string{name, kind} {
		if code, set := s.codes[of]; set {
			out.RCode, out.Answers = code, nil
		}
	}
	if s.edit != nil {
		s.edit(&out, over)
	}
	packed, err := out.Pack()
	if err != nil {
		s.Error(err)
		return nil
	}
	if over == "udp" && len(packed) > 1232 { // what package net offers
		out.Truncated, out.Answers = true, nil
		packed, _ = out.Pack()
	}
	return packed
}

// set makes a name have addresses, which are valid for a number of seconds.
func (s *dnsServer) set(name string, ttl uint32, ips ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = []dnsmessage.Resource{}
	for _, text := range ips {
		ip := netip.MustParseAddr(text)
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{
			Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl,
		}}
		if ip.Is4() {
			r.Header.Type, r.Body = dnsmessage.TypeA, &dnsmessage.AResource{A: ip.As4()}
		} else {
			r.Header.Type, r.Body = dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: ip.As16()}
		}
		s.records[name] = append(s.records[name], r)
	}
}

// addSRV adds an SRV record to a name.
func (s *dnsServer) addSRV(name string, ttl uint32, priority, weight, port uint16, host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = append(s.records[name], dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{
			Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET, TTL: ttl,
		},
		Body: &dnsmessage.SRVResource{Priority: priority, Weight: weight, Port: port, Target: dnsmessage.MustNewName(host)},
	})
}

// with changes how the server behaves.
func (s *dnsServer) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// askedOver returns the number of questions that came over a network.
func (s *dnsServer) askedOver(network string) (n int) {
	s.with(func() { n = s.asked[network] })
	return n
}
