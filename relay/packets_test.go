package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// TestUDPEchoFor500Clients checks that each client gets its own datagrams back, byte for byte, and
// that the sessions leave no descriptors open.
func TestUDPEchoFor500Clients(t *testing.T) {
	one, _ := packetEcho(t)
	two, _ := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{Tuning: Tuning{UDPIdleTimeout: time.Hour}}, one, two)
	const clients = 500
	conns := make([]*net.UDPConn, clients) // all open to the end, since a reused port would be the same client
	for i := range conns {
		conns[i] = r.client()
	}
	before := descriptors(t)
	sizes := []int{1, 100, 0, 1472}
	var running sync.WaitGroup
	gate := make(chan struct{}, 32)
	for _, conn := range conns {
		running.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			for _, size := range sizes {
				question := make([]byte, size)
				rand.Read(question)
				if err := compare(conn, question); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	const idleAfter = 100 * time.Millisecond // set only now: on a busy machine replies take longer
	r.Tune(Tuning{UDPIdleTimeout: idleAfter})
	eventually(t, "the sessions' end", func() bool { return r.Stats().Active == 0 })
	eventually(t, "the sessions' records", func() bool { return len(r.log.get()) >= clients })
	eventually(t, "the descriptors' return", func() bool { return descriptors(t) <= before+1 })

	const bytesEach = 1573
	s := r.Stats()
	if s.Accepted != clients || s.CutOff != 0 {
		t.Errorf("%+v", s)
	}
	for _, p := range s.Targets {
		if p.Total != clients/2 || p.BytesIn != bytesEach*clients/2 || p.BytesOut != bytesEach*clients/2 {
			t.Errorf("%+v", p)
		}
	}
	for _, rec := range r.log.get() {
		if rec.End != "idle" || rec.BytesIn != bytesEach || rec.BytesOut != bytesEach || rec.Dials != 1 ||
			rec.Listener != "udp://"+r.at ||
			rec.Target != one && rec.Target != two || rec.Duration < idleAfter {
			t.Errorf("%+v", rec)
		}
	}
}

func TestLongestDatagram(t *testing.T) {
	address, _ := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{}, address)
	question := make([]byte, 65507)
	rand.Read(question)
	if got := ask(t, r.client(), question, replyTimeout); !bytes.Equal(got, question) {
		t.Errorf("got %d bytes", len(got))
	}
}

// A session with datagrams in only one direction is not idle.
func TestUDPSessionEndsWhenIdle(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second // four times the sleeps of the test, since a busy machine sleeps longer
	sink, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer sink.Close()
	r := startPackets(t, "127.0.0.1:0", Options{Tuning: Tuning{UDPIdleTimeout: timeout}}, "udp://"+sink.LocalAddr().String())
	conn := r.client()
	for range 6 { // the client only sends
		_, err := conn.Write([]byte("x"))
		must(t, err)
		time.Sleep(timeout / 4)
	}
	b := make([]byte, 10)
	_, session, err := sink.ReadFrom(b)
	must(t, err)
	for range 6 { // the client only receives
		_, err := sink.WriteTo([]byte("y"), session)
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(replyTimeout)))
		_, err = conn.Read(b)
		must(t, err)
		time.Sleep(timeout / 4)
	}
	if all := r.log.get(); len(all) != 0 {
		t.Fatalf("ended while busy: %+v", all)
	}
	rec := r.log.one(t)
	if rec.End != "idle" || rec.BytesIn != 6 || rec.BytesOut != 6 {
		t.Errorf("%+v", rec)
	}
	_, err = conn.Write([]byte("again"))
	must(t, err)
	eventually(t, "a new session", func() bool { return r.Stats().Accepted == 2 })
}

// Datagrams that would need a session too many are dropped and counted. Other sessions go on.
func TestUDPLimits(t *testing.T) {
	tests := []struct {
		name, reason string
		o            Options
		query        string
		room         int
	}{
		{"sessions", "limit", Options{Tuning: Tuning{UDPSessions: 2}}, "", 2},
		{"connections", "limit", Options{Tuning: Tuning{MaxConnections: 2}}, "", 2},
		{"per client", "client-limit", Options{Tuning: Tuning{MaxConnectionsPerClient: 2}}, "", 2},
		{"rate", "rate", Options{Tuning: Tuning{RatePerClient: 0.001}}, "", 1},
		{"per target", "limit", Options{}, "?max-connections=2", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address, _ := packetEcho(t)
			r := startPackets(t, "127.0.0.1:0", tt.o, address+tt.query)
			var there []*net.UDPConn
			for range tt.room {
				there = append(there, r.client())
				wantEcho(t, there[len(there)-1], "1")
			}
			_, err := r.client().Write([]byte("3"))
			must(t, err)
			eventually(t, "a refusal", func() bool { return refusalsFor(r.Stats(), tt.reason) == 1 })
			for _, conn := range there {
				wantEcho(t, conn, "4")
			}
			if n := r.Stats().Active; n != int64(tt.room) {
				t.Errorf("%d active", n)
			}
		})
	}
}

// Anyone can send datagrams from many addresses that are not his. They kept out all TCP clients by
// opening as many sessions as -max-connections allows.
func TestUDPSessionsLeavePlacesForConnections(t *testing.T) {
	const most, flood = 8, 20
	address, _ := packetEcho(t)
	s := serve(t, echo)
	r := startPackets(t, "127.0.0.1:0", Options{Tuning: Tuning{MaxConnections: most}}, address, s.name())
	ln := listenAt(t, "tcp", "127.0.0.1:0")
	hard, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.Serve(hard, hard, ln) }()
	exchange(t, dialTo(t, ln.Addr()), "the listener is served")
	for range flood {
		_, err := r.client().Write([]byte("forged"))
		must(t, err)
	}
	eventually(t, "all sessions are open or refused", func() bool {
		st := r.Stats()
		return refusalsFor(st, "limit")+uint64(st.Active)-1 == flood
	})
	for range most/2 - 1 {
		exchange(t, dialTo(t, ln.Addr()), "hello")
	}
	end()
	must(t, <-served)
}

func refusalsFor(s Stats, reason string) uint64 {
	for _, c := range s.Refused {
		if c.Reason == reason {
			return c.N
		}
	}
	return 0
}

func TestUDPWithoutTargetIsRefused(t *testing.T) {
	r := startPackets(t, "127.0.0.1:0", Options{})
	_, err := r.client().Write([]byte("x"))
	must(t, err)
	eventually(t, "a refusal", func() bool { return refusalsFor(r.Stats(), "no-target") == 1 })
}

// The session ends if there is no other target.
func TestUDPTargetWithUnknownNameIsSkipped(t *testing.T) {
	address, _ := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{}, "udp://name.invalid:1", address)
	wantEcho(t, r.client(), "1") // the datagram waited for the socket
	wantEcho(t, r.client(), "2")

	r = startPackets(t, "127.0.0.1:0", Options{}, "udp://name.invalid:1")
	_, err := r.client().Write([]byte("x"))
	must(t, err)
	if rec := r.log.one(t); rec.End != "dial-failed" || rec.Target != "" || rec.Dials != 1 {
		t.Errorf("%+v", rec)
	}
	if n := refusalsFor(r.Stats(), "no-target"); n != 1 {
		t.Errorf("%d refused", n)
	}
}

func TestUDPDrainKeepsSessionsAndOpensNone(t *testing.T) {
	address, _ := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{Tuning: Tuning{UDPIdleTimeout: time.Hour, Drain: time.Hour}}, address)
	conn := r.client()
	wantEcho(t, conn, "before")
	r.soft()
	wantEcho(t, conn, "after")
	// The drain begins in a goroutine of its own. New clients before that have sessions.
	eventually(t, "a refusal", func() bool {
		_, err := r.client().Write([]byte("new"))
		must(t, err)
		return refusalsFor(r.Stats(), "shutdown") > 0
	})
	wantEcho(t, conn, "still")
	r.Tune(Tuning{UDPIdleTimeout: 50 * time.Millisecond, Drain: time.Hour})
	r.wait()
	for _, rec := range r.log.get() {
		if rec.End != "idle" {
			t.Errorf("%+v", rec)
		}
	}
	if n := r.Stats().CutOff; n != 0 {
		t.Errorf("%d cut off", n)
	}
}

func TestUDPDrainWithoutSessionsEndsAtOnce(t *testing.T) {
	address, _ := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{Tuning: Tuning{Drain: time.Minute}}, address)
	r.soft()
	r.wait()
}

func TestUDPSessionsAreCutOffAfterTheDrain(t *testing.T) {
	ways := map[string]struct {
		o   Options
		end func(*packetRig)
	}{
		"hard":       {Options{Tuning: Tuning{Drain: time.Minute}}, func(r *packetRig) { r.hard() }},
		"drain":      {Options{Tuning: Tuning{Drain: time.Millisecond}}, func(r *packetRig) { r.soft() }},
		"soft, hard": {Options{Tuning: Tuning{Drain: time.Minute}}, func(r *packetRig) { r.soft(); r.hard() }},
	}
	for name, tt := range ways {
		t.Run(name, func(t *testing.T) {
			address, _ := packetEcho(t)
			r := startPackets(t, "127.0.0.1:0", tt.o, address)
			wantEcho(t, r.client(), "1")
			wantEcho(t, r.client(), "2")
			tt.end(r)
			r.wait()
			for _, rec := range r.log.get() {
				if rec.End != "shutdown" {
					t.Errorf("%+v", rec)
				}
			}
			if n := r.Stats().CutOff; n != 2 || len(r.log.get()) != 2 {
				t.Errorf("%d cut off, %d records", n, len(r.log.get()))
			}
		})
	}
}

func TestUDPSocketClosedElsewhereIsAnError(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	r := New(Options{})
	ended := make(chan error)
	go func() { ended <- r.ServePackets(t.Context(), t.Context(), pc) }()
	must(t, pc.Close())
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// New clients do not get the target that refuses datagrams.
func TestUDPClientsOfALostTargetGetAnother(t *testing.T) {
	one, gone := packetEcho(t)
	two, _ := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{}, one, two)
	conns := []*net.UDPConn{r.client(), r.client(), r.client(), r.client()}
	for _, conn := range conns {
		wantEcho(t, conn, "before")
	}
	must(t, gone.Close())
	for _, conn := range conns {
		eventually(t, "an answer", func() bool { return ask(t, conn, []byte("after"), 100*time.Millisecond) != nil })
	}
	for range 4 {
		wantEcho(t, r.client(), "new")
	}
	resets := 0
	for _, rec := range r.log.get() {
		if rec.End == "target-reset" && rec.Target == one {
			resets++
		}
	}
	if resets != 2 {
		t.Errorf("%d sessions ended for their target, want 2: %+v", resets, r.log.get())
	}
}

func TestUDPSessionOutlivesAnAbsenceOfTheOnlyTarget(t *testing.T) {
	address, socket := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{}, address)
	conn := r.client()
	wantEcho(t, conn, "before")
	at := socket.LocalAddr().String()
	must(t, socket.Close())
	for range 5 {
		if got := ask(t, conn, []byte("lost"), 10*time.Millisecond); got != nil {
			t.Errorf("got %q", got)
		}
	}
	back, err := net.ListenPacket("udp", at)
	must(t, err)
	defer back.Close()
	_, err = conn.Write([]byte("after"))
	must(t, err)
	must(t, back.SetReadDeadline(time.Now().Add(replyTimeout)))
	for b := make([]byte, 10); ; {
		n, _, err := back.ReadFrom(b)
		if string(b[:n]) == "lost" && err == nil {
			continue // it was still on its way, and comes before the other one
		}
		if string(b[:n]) != "after" || err != nil {
			t.Errorf("got %q, %v", b[:n], err)
		}
		break
	}
	if all := r.log.get(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

func TestRepliesComeFromTheAddressTheClientSentTo(t *testing.T) {
	address, _ := packetEcho(t)
	for _, at := range []string{"0.0.0.0:0", "[::]:0"} {
		r := startPackets(t, at, Options{}, address)
		port := netip.MustParseAddrPort(r.at).Port()
		for _, host := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
			if host == "::1" && at == "0.0.0.0:0" {
				continue
			}
			conn, err := net.Dial("udp", net.JoinHostPort(host, fmt.Sprint(port)))
			if err != nil {
				t.Logf("no %s here: %v", host, err)
				continue
			}
			if got := ask(t, conn, []byte("x"), replyTimeout); string(got) != "x" {
				t.Errorf("%s by %s: got %q", at, host, got)
			}
			conn.Close()
		}
	}
}

// A reply that is too long for IPv4 is lost. Later replies keep their source address.
func TestFailedReplyKeepsTheSourceAddress(t *testing.T) {
	server, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	defer server.Close()
	r := startPackets(t, "0.0.0.0:0", Options{}, "udp://"+server.LocalAddr().String())
	client := dialUDP(t, fmt.Sprintf("127.0.0.2:%d", netip.MustParseAddrPort(r.at).Port()))
	_, err = client.Write([]byte("x"))
	must(t, err)
	b := make([]byte, maxDatagram)
	_, session, err := server.ReadFrom(b)
	must(t, err)
	for _, size := range []int{65527, 5} { // IPv4 carries 65,507 bytes
		_, err := server.WriteTo(b[:size], session)
		must(t, err)
	}
	must(t, client.SetReadDeadline(time.Now().Add(replyTimeout)))
	if n, err := client.Read(b); n != 5 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestOpenSessionAllocatesNothingPerDatagram(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	address, _ := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{}, address)
	conn := r.client()
	question, b := []byte("question"), make([]byte, 100)
	must(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	n := testing.AllocsPerRun(2000, func() {
		conn.Write(question)
		if _, err := conn.Read(b); err != nil {
			t.Error(err)
		}
	})
	if n >= 1 {
		t.Errorf("%v allocations per datagram and its reply", n)
	}
}
