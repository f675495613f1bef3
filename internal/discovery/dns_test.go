package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

const wait = time.Minute

func mustSpec(t *testing.T, text string) Spec {
	t.Helper()
	s, err := ParseSpec(text, false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// written returns the targets of an answer as -target takes them, sorted, with the name for TLS.
func written(a Answer) (all []string) {
	for _, t := range a.Targets {
		text := t.Written()
		if t.HostName != "" {
			text += " " + t.HostName
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

func ask(t *testing.T, s source) (Answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	return s.lookup(ctx)
}

func TestDNSAddresses(t *testing.T) {
	server := serveDNS(t)
	server.set("app.test.", 7, "10.0.0.2", "10.0.0.1", "2001:db8::1")
	for _, scheme := range []string{"udp", "tcp"} {
		src := &dnsSource{mustSpec(t, "dns://App.test.:9?via-proxy=true&weight=3"), server.resolver(scheme)}
		a, err := ask(t, src)
		if err != nil || a.Missing != nil {
			t.Fatal(err, a.Missing)
		}
		want := []string{
			"tcp://10.0.0.1:9?via-proxy=true&weight=3 App.test", "tcp://10.0.0.2:9?via-proxy=true&weight=3 App.test",
			"tcp://[2001:db8::1]:9?via-proxy=true&weight=3 App.test",
		}
		if diff := cmp.Diff(want, written(a)); diff != "" {
			t.Errorf("%s: %s", scheme, diff)
		}
		if a.TTL != 7*time.Second {
			t.Errorf("%s: valid for %v", scheme, a.TTL)
		}
	}
	if server.askedOver("tcp") != 2 || server.askedOver("udp") != 2 {
		t.Errorf("questions: %v", server.asked)
	}
}

// An answer that UDP has no room for is asked for over TCP, and counts as whole.
func TestDNSTruncated(t *testing.T) {
	server := serveDNS(t)
	var ips []string
	for i := range 200 {
		ips = append(ips, fmt.Sprintf("10.0.%d.%d", i/100, i%100))
	}
	server.set("many.test.", 60, ips...)
	a, err := ask(t, &dnsSource{mustSpec(t, "dns://many.test.:9"), server.resolver("udp")})
	if err != nil || a.Missing != nil || len(a.Targets) != 200 || a.TTL != time.Minute {
		t.Errorf("%d targets for %v: %v, %v", len(a.Targets), a.TTL, a.Missing, err)
	}
	if server.askedOver("tcp") == 0 {
		t.Error("not asked over TCP")
	}
}

// What fits into a truncated answer is not taken for all, when the server cannot be asked over TCP.
func TestDNSTruncatedWithoutTCP(t *testing.T) {
	for name, tcp := range map[string]func(*dnsServer){
		"refused": func(s *dnsServer) { s.streams.Close() },
		"silent":  func(s *dnsServer) { s.silent["tcp"] = true },
	} {
		t.Run(name, func(t *testing.T) {
			server := serveDNS(t)
			server.set("many.test.", 60, "10.0.0.1", "10.0.0.2")
			server.with(func() {
				server.edit = func(m *dnsmessage.Message, over string) { m.Truncated = over == "udp" }
				tcp(server)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if a, err := (&dnsSource{mustSpec(t, "dns://many.test.:9"), server.resolver("udp")}).lookup(ctx); err == nil {
				t.Errorf("%v, missing: %v", a.Targets, a.Missing)
			}
		})
	}
}

// More addresses than a source may have are a mistake, and no answer.
func TestDNSWithTooManyAddresses(t *testing.T) {
	server := serveDNS(t)
	var ips []string
	for i := range maxTargets + 1 {
		ips = append(ips, fmt.Sprintf("10.0.%d.%d", i/100, i%100))
	}
	server.set("many.test.", 60, ips...)
	if a, err := ask(t, &dnsSource{mustSpec(t, "dns://many.test.:9"), server.resolver("udp")}); err == nil ||
		!strings.Contains(err.Error(), "more than 1000 targets") {
		t.Errorf("%d targets, %v", len(a.Targets), err)
	}
}

// No failure looks like an answer, and a failure about half of the addresses like no whole one.
func TestDNSFailures(t *testing.T) {
	server := serveDNS(t)
	server.set("app.test.", 60, "10.0.0.1", "2001:db8::1")
	server.set("none.test.", 60)
	server.with(func() { server.codes["broken.test."] = dnsmessage.RCodeServerFailure })
	server.with(func() { server.codes["refused.test."] = dnsmessage.RCodeRefused })
	server.with(func() { server.silent["dead.test."] = true })
	for _, test := range []struct {
		name, place string
		empty       bool
		want        string // in the error
	}{
		{"NXDOMAIN", "gone.test.", true, ""},
		{"no records", "none.test.", true, ""},
		{"SERVFAIL", "broken.test.", false, "server misbehaving"},
		{"REFUSED", "refused.test.", false, "server misbehaving"},
		{"no answer", "dead.test.", false, "i/o timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			a, err := (&dnsSource{mustSpec(t, "dns://"+test.place+":9"), server.resolver("udp")}).lookup(ctx)
			switch {
			case len(a.Targets) > 0:
				t.Errorf("targets: %v", a.Targets)
			case test.empty && err != nil, !test.empty && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error: %v", err)
			}
		})
	}
	t.Run("one family fails", func(t *testing.T) {
		half := serveDNS(t)
		half.set("app.test.", 60, "10.0.0.1", "2001:db8::1")
		half.with(func() { half.codes["AAAA app.test."] = dnsmessage.RCodeServerFailure })
		a, err := ask(t, &dnsSource{mustSpec(t, "dns://app.test.:9"), half.resolver("udp")})
		if err != nil || a.Missing == nil || len(a.Targets) != 1 {
			t.Errorf("%v, missing: %v, %v", a.Targets, a.Missing, err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		slow := serveDNS(t)
		slow.set("app.test.", 60, "10.0.0.1")
		slow.with(func() { slow.delay = 100 * time.Millisecond })
		if a, err := ask(t, &dnsSource{mustSpec(t, "dns://app.test.:9"), slow.resolver("udp")}); err != nil || a.Missing != nil || len(a.Targets) != 1 {
			t.Errorf("%v, missing: %v, %v", a.Targets, a.Missing, err)
		}
	})
	t.Run("connection refused", func(t *testing.T) {
		t.Parallel()
		if a, err := ask(t, &dnsSource{mustSpec(t, "dns://app.test.:9"), resolver{"udp://127.0.0.1:1"}}); err == nil ||
			!strings.Contains(err.Error(), " on 127.0.0.1:1: ") { // not the server of resolv.conf
			t.Errorf("answer %v, %v", a, err)
		}
	})
}

// A server that does not answer about one name of the search list must not lead to another host:
// package net would go on to the next name.
func TestDNSSearchListDoesNotLeadElsewhere(t *testing.T) {
	rec := new(recorder)
	note := func(name string, kind dnsmessage.Type, code dnsmessage.RCode, records ...dnsmessage.Resource) {
		m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
		m.ID = 7
		query, _ := m.Pack()
		e := rec.ask(query)
		m.Response, m.RecursionAvailable, m.RCode, m.Answers = true, true, code, records
		out, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		rec.reply(e, out)
	}
	wild := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("app.corp.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 9},
		Body: &dnsmessage.AResource{A: [4]byte{10, 9, 9, 9}}}
	found := []netip.Addr{netip.MustParseAddr("10.9.9.9")}
	note("app.here.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError)
	note("app.here.test.", dnsmessage.TypeAAAA, dnsmessage.RCodeNameError)
	note("app.corp.test.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, wild)
	note("app.corp.test.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess)
	if a, err := judge(rec, found, nil); err != nil || a.missing != nil || a.ttl != 9*time.Second {
		t.Fatalf("%+v, %v", a, err)
	}
	note("app.first.test.", dnsmessage.TypeA, dnsmessage.RCodeServerFailure)
	if a, err := judge(rec, found, nil); err == nil || len(a.found) > 0 {
		t.Errorf("%+v, %v", a, err)
	}
	note("app.first.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError) // another server's reply
	note("app.", dnsmessage.TypeA, dnsmessage.RCodeRefused)              // a server without upstreams, about a name without a domain
	if _, err := judge(rec, found, nil); err != nil {
		t.Error(err)
	}
}

// Aliases count, and a TTL of 0 is one.
func TestDNSTTLs(t *testing.T) {
	server := serveDNS(t)
	server.set("app.test.", 300, "10.0.0.1")
	server.with(func() {
		server.edit = func(m *dnsmessage.Message, _ string) {
			if len(m.Answers) > 0 {
				real := dnsmessage.MustNewName("real.test.")
				alias := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeCNAME, Class: dnsmessage.ClassINET, TTL: 11},
					Body: &dnsmessage.CNAMEResource{CNAME: real}}
				m.Answers[0].Header.Name = real
				m.Answers = append([]dnsmessage.Resource{alias}, m.Answers...)
			}
		}
	})
	src := &dnsSource{mustSpec(t, "dns://app.test.:9"), server.resolver("udp")}
	if a, err := ask(t, src); err != nil || a.TTL != 11*time.Second {
		t.Errorf("%+v, %v", a, err)
	}
	server.with(func() { server.edit = nil })
	server.set("app.test.", 0, "10.0.0.1")
	if a, err := ask(t, src); err != nil || src.spec.interval(a) != minTTL {
		t.Errorf("%+v, %v", a, err)
	}
	for ttl, want := range map[time.Duration]time.Duration{
		time.Second: minTTL, time.Minute: time.Minute, time.Hour: maxTTL, 0: defaultRefresh,
	} {
		if got := src.spec.interval(Answer{TTL: ttl}); got != want {
			t.Errorf("TTL %v: asked again after %v, want %v", ttl, got, want)
		}
	}
	if got := mustSpec(t, "dns://a:9?refresh=2s").interval(Answer{TTL: time.Hour}); got != 2*time.Second {
		t.Errorf("?refresh=2s: asked again after %v", got)
	}
}

func TestSRV(t *testing.T) {
	server := serveDNS(t)
	const name = "_logs._tcp.test."
	server.addSRV(name, 60, 10, 5, 9001, "a.test.")
	server.addSRV(name, 60, 10, 0, 9002, "b.test.")
	server.addSRV(name, 60, 20, 9, 9003, "c.test.")
	server.set("a.test.", 30, "10.0.0.1", "2001:db8::1")
	server.set("b.test.", 20, "10.0.0.2")
	src := &srvSource{mustSpec(t, "srv://"+name+"?scheme=tls"), server.resolver("udp")}
	a, err := ask(t, src)
	if err != nil || a.Missing != nil {
		t.Fatal(err, a.Missing)
	}
	want := []string{
		"tls://10.0.0.1:9001?weight=5 a.test", "tls://10.0.0.2:9002 b.test", "tls://[2001:db8::1]:9001?weight=5 a.test",
	}
	if diff := cmp.Diff(want, written(a)); diff != "" {
		t.Error(diff)
	}
	if a.TTL != 20*time.Second {
		t.Errorf("valid for %v", a.TTL)
	}
	server.with(func() { server.codes["b.test."] = dnsmessage.RCodeServerFailure })
	if a, err = ask(t, src); err != nil || a.Missing == nil || len(a.Targets) != 2 {
		t.Errorf("without b: %v, missing: %v, %v", a.Targets, a.Missing, err)
	}
	server.with(func() { delete(server.records, name) })
	if a, err = ask(t, src); err != nil || len(a.Targets) > 0 {
		t.Errorf("gone: %v, %v", a.Targets, err)
	}
	server.addSRV(name, 60, 0, 0, 0, ".")
	if a, err = ask(t, src); err != nil || len(a.Targets) > 0 {
		t.Errorf("no such service: %v, %v", a.Targets, err)
	}
}

// A server's replies are not trusted to have any form.
func FuzzRecorder(f *testing.F) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("app.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	m := dnsmessage.Message{Questions: []dnsmessage.Question{q}}
	m.ID = 7
	query, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	m.Response, m.RecursionAvailable = true, true
	m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 5}, Body: &dnsmessage.AResource{}}}
	good, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:20])
	f.Fuzz(func(t *testing.T, reply []byte) {
		rec := new(recorder)
		rec.reply(rec.ask(query), reply)
		if q := rec.questions[0]; q.ttl < 0 || q.records && !q.answered {
			t.Errorf("%+v", q)
		}
		rec.ttl()
		rec.unanswered()
	})
}
