package sink

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"linesplit/internal/simulate/tally"
)

func TestStatus(t *testing.T) {
	tl := tally.New(tally.Options{})
	s, other := start(t, Options{Tally: tl}), start(t, Options{Tally: tl, Behaviour: Behaviour{Refuse: true}})
	url := control(t, tl, s, other).URL
	p := dial(t, s)
	p.send(t, numbered(1, 10)[1:]) // the rest of the first line is not a record
	waitFor(t, "the lines", func() bool { return s.Lines() == 10 })
	s.Pause()
	var got Overview
	answer := mustAsk(t, "GET", url+"/status", "")
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	if got.Lines != 10 || len(got.Sinks) != 2 || got.Report.Corrupt != 1 || got.Report.Lost != 1 ||
		got.Report.Distinct != 9 {
		t.Errorf("%s", answer)
	}
	if a, b := got.Sinks[0], got.Sinks[1]; a.Target != s.Target() || !a.Listening || !a.Paused || a.Open != 1 ||
		b.Listening || b.Paused || !b.Behaviour.Refuse {
		t.Errorf("%s", answer)
	}
	if !strings.Contains(answer, `"senders_left_out": 0`) || !strings.Contains(answer, `"delay": "0s"`) {
		t.Errorf("%s", answer)
	}
}

// dialAndSend returns a connection of which the sink has read a line.
func dialAndSend(t *testing.T, s *Sink) peer {
	t.Helper()
	before := s.Lines()
	p := dial(t, s)
	p.send(t, []byte("line\n"))
	waitFor(t, "a line", func() bool { return s.Lines() == before+1 })
	return p
}

func TestOrders(t *testing.T) {
	s := start(t, Options{})
	url := control(t, nil, s).URL
	p := dialAndSend(t, s)
	mustAsk(t, "POST", url+"/pause", "")
	p.send(t, []byte("line\n"))
	if how := p.ends(t, 50*time.Millisecond); how != "open" || s.Lines() != 1 {
		t.Errorf("paused: %s, %d lines", how, s.Lines())
	}
	mustAsk(t, "POST", url+"/resume", "")
	waitFor(t, "the line", func() bool { return s.Lines() == 2 })

	mustAsk(t, "POST", url+"/reset", "")
	if how := p.ends(t, patience); how != "reset" {
		t.Errorf("reset: %s", how)
	}
}

func TestOrdersThatEndASink(t *testing.T) {
	s := start(t, Options{})
	url := control(t, nil, s).URL

	p := dialAndSend(t, s)
	mustAsk(t, "POST", url+"/pause", "")
	p.send(t, []byte("unread\n"))
	if answer := mustAsk(t, "POST", url+"/crash?stall=1ms", ""); !strings.Contains(answer, `"unread_bytes": 7`) {
		t.Errorf("crash: %s", answer)
	}
	if how := p.ends(t, patience); how != "reset" {
		t.Errorf("crash: %s", how)
	}
	if _, err := tryDial(s); err == nil {
		t.Error("crash: accepts")
	}

	for _, end := range []string{"/exit", "/close-unread?stall=1ms", "/shutdown?patience=10s"} {
		mustAsk(t, "POST", url+"/restart", "")
		p = dialAndSend(t, s)
		if end[1] == 's' {
			p.closeWrite()
		}
		mustAsk(t, "POST", url+end, "")
		if how := p.ends(t, patience); how != "eof" {
			t.Errorf("%s: %s", end, how)
		}
	}

	mustAsk(t, "POST", url+"/restart", "")
	dialAndSend(t, s)
	if code, answer := ask(t, "POST", url+"/shutdown?patience=10ms", ""); code != http.StatusConflict ||
		!strings.Contains(answer, "connections that did not end and were cut off: 1") {
		t.Errorf("shutdown: %d %s", code, answer)
	}
	ln, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if code, answer := ask(t, "POST", url+"/restart", ""); code != http.StatusConflict ||
		!strings.Contains(answer, "address already in use") {
		t.Errorf("restart: %d %s", code, answer)
	}
}

func TestOrdersForOneSink(t *testing.T) {
	a, b := start(t, Options{}), start(t, Options{})
	url := control(t, nil, a, b).URL
	mustAsk(t, "PUT", url+"/behaviour", `{"delay":"1ms","request":true}`)
	mustAsk(t, "PATCH", url+"/behaviour?sink=2", `{"delay":"2ms"}`)
	if a.Behaviour() != (Behaviour{Delay: time.Millisecond, Request: true}) ||
		b.Behaviour() != (Behaviour{Delay: 2 * time.Millisecond, Request: true}) {
		t.Errorf("behaviours %+v, %+v", a.Behaviour(), b.Behaviour())
	}
	var got []Behaviour
	if err := json.Unmarshal([]byte(mustAsk(t, "GET", url+"/behaviour?sink=2", "")), &got); err != nil ||
		len(got) != 1 || got[0] != b.Behaviour() {
		t.Errorf("%+v, %v", got, err)
	}
	mustAsk(t, "POST", url+"/exit?sink=1", "")
	if a.Status().Listening || !b.Status().Listening {
		t.Error("the wrong sink has ended")
	}
	// An error for one sink changes no sink: half close and request exclude each other.
	mustAsk(t, "PUT", url+"/behaviour?sink=1", `{}`)
	if code, _ := ask(t, "PATCH", url+"/behaviour", `{"half_close":true}`); code != http.StatusBadRequest ||
		a.Behaviour() != (Behaviour{}) {
		t.Errorf("%d, behaviour %+v", code, a.Behaviour())
	}
}

func TestInvalidRequests(t *testing.T) {
	s := start(t, Options{})
	url := control(t, nil, s).URL
	for _, tt := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"GET", "/", 404, "GET /: known are GET /status"},
		{"POST", "/explode", 404, "known are"},
		{"GET", "/crash", 404, "GET /crash: known are"},
		{"POST", "/status", 404, "known are"},
		{"DELETE", "/behaviour", 404, "known are"},
		{"POST", "/exit?sink=2", 400, `sink \"2\": want a number from 1 to 1`},
		{"GET", "/behaviour?sink=0", 400, "from 1 to 1"},
		{"PUT", "/behaviour?sink=x", 400, "from 1 to 1"},
		{"POST", "/crash?stall=1h", 400, "want a duration from 0s to 10s"},
		{"POST", "/close-unread?stall=-1s", 400, "want a duration"},
		{"POST", "/shutdown?patience=soon", 400, "want a duration"},
	} {
		if code, answer := ask(t, tt.method, url+tt.path, ""); code != tt.code || !strings.Contains(answer, tt.want) {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, code, answer)
		}
	}
	if !s.Status().Listening {
		t.Error("one of them has ended the sink")
	}
}

// A web page of another origin cannot crash targets on the machine of the browser.
func TestControlRefusesCrossOriginRequests(t *testing.T) {
	s := start(t, Options{})
	request, _ := http.NewRequestWithContext(t.Context(), "POST", control(t, nil, s).URL+"/exit", nil)
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden || !s.Status().Listening {
		t.Errorf("%s", answer.Status)
	}
}

func TestControlServes(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- NewControl(nil, s).Serve(ctx, ln) }()
	mustAsk(t, "GET", "http://"+ln.Addr().String()+"/status", "")
	idle, err := net.Dial("tcp", ln.Addr().String()) // sends no request, and does not delay the end for long
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	if err := NewControl(nil, s).Serve(t.Context(), other); err == nil {
		t.Error("no error from a listener that is closed")
	}
}
