package sink

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/simulate/tally"
)

// These tests set each behaviour over HTTP while the sink runs, and observe it from the other end
// of a real connection. Then they unset it, and observe that it ends.

func TestDelay(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	url := control(t, nil, s).URL + "/behaviour"
	mustAsk(t, "PUT", url, `{"delay":"5ms"}`)
	p := dial(t, s)
	began := time.Now()
	p.send(t, bytes.Repeat([]byte("line\n"), 1000))
	// the second read of 1 KiB comes after the delay for the 204 lines of the first
	waitFor(t, "more lines", func() bool { return s.Lines() > 204 })
	if took := time.Since(began); took < time.Second-2*maxCatchUp {
		t.Errorf("204 lines of 5 ms took %v", took)
	}
	mustAsk(t, "PUT", url, `{"delay":"100ms"}`) // longer than the test waits
	mustAsk(t, "PUT", url, `{}`)
	waitFor(t, "all lines", func() bool { return s.Lines() == 1000 })
}

func TestReadRate(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Buffer: 16 << 10})
	url := control(t, nil, s).URL + "/behaviour"
	mustAsk(t, "PUT", url, `{"read_rate":100000}`)
	p := dial(t, s)
	var writing sync.WaitGroup
	writing.Go(func() { p.Write(make([]byte, 4<<20)) })
	defer writing.Wait()
	began := time.Now()
	waitFor(t, "half a second's bytes", func() bool { return s.Bytes() >= 50_000 })
	if took := time.Since(began).Seconds(); took < 0.4 {
		t.Errorf("50 kB at 100 kB/s took %.2f s", took)
	}
	mustAsk(t, "PUT", url, `{}`)
	waitFor(t, "the rest, which at that rate would take longer", func() bool { return s.Bytes() == 4<<20 })
}

func TestIntervalAndChunk(t *testing.T) {
	t.Parallel()
	const interval, chunk, size = 20 * time.Millisecond, 1 << 10, 50 << 10
	for name, tt := range map[string]struct {
		Behaviour
		reads int // the least that it takes
	}{
		"in chunks": {Behaviour{Interval: interval, Chunk: chunk}, size / chunk},
		"in bursts": {Behaviour{Interval: interval}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{Behaviour: tt.Behaviour})
			began := time.Now()
			p := dial(t, s)
			p.send(t, make([]byte, size))
			waitFor(t, "all bytes", func() bool { return s.Bytes() == size })
			if took, want := time.Since(began), time.Duration(tt.reads)*interval; took < want {
				t.Errorf("%d bytes took %v, want at least %v", size, took, want)
			}
			if err := s.Behave(Behaviour{Interval: maxDuration}); err != nil {
				t.Fatal(err)
			}
			p.send(t, make([]byte, size))
			if err := s.Behave(Behaviour{}); err != nil { // interrupts the pause
				t.Fatal(err)
			}
			waitFor(t, "the rest", func() bool { return s.Bytes() == 2*size })
			if err := s.Behave(Behaviour{Interval: maxDuration}); err != nil {
				t.Fatal(err)
			}
			s.Exit() // it too
		})
	}
}

func TestMaxConnections(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		s := start(t, o)
		url := control(t, nil, s).URL + "/behaviour"
		mustAsk(t, "PUT", url, `{"max_connections":2}`)
		first, second := dial(t, s), dial(t, s)
		first.send(t, []byte("1\n"))
		second.send(t, []byte("2\n"))
		if how := visit(t, s, []byte("3\n")); how == "eof" {
			t.Error("a third connection is served")
		}
		waitFor(t, "the refusal", func() bool { return s.Counts().Refused == 1 })
		first.closeWrite()
		waitFor(t, "room", func() bool { return s.Open() == 1 })
		dial(t, s).send(t, []byte("4\n"))
		waitFor(t, "three lines", func() bool { return s.Lines() == 3 })
		mustAsk(t, "PATCH", url, `{"max_connections":0}`)
		dial(t, s).send(t, []byte("5\n"))
		waitFor(t, "a third connection", func() bool { return s.Lines() == 4 && s.Open() == 3 })
	})
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, o Options) {
		s := start(t, o)
		url := control(t, nil, s).URL + "/behaviour"
		p := dial(t, s)
		p.send(t, []byte("line\n"))
		waitFor(t, "the line", func() bool { return s.Lines() == 1 })
		const timeout = 2 * time.Second
		mustAsk(t, "PUT", url, fmt.Sprintf(`{"idle_timeout":%q}`, timeout))
		// in total longer than the timeout, but never without a line for so long, even if a sleep
		// takes four times as long
		for range 5 {
			p.send(t, []byte("line\n"))
			time.Sleep(timeout / 4)
		}
		waitFor(t, "all lines", func() bool { return s.Lines() == 6 })
		if n := s.Counts().Idle; n != 0 {
			t.Error("cut off while it sent")
		}
		if how := p.ends(t, patience); how != "eof" {
			t.Errorf("idle connection ends with %s", how)
		}
		waitFor(t, "its count", func() bool { return s.Counts().Idle == 1 && s.Open() == 0 })
		mustAsk(t, "PUT", url, `{}`)
		if how := dial(t, s).ends(t, timeout+timeout/4); how != "open" && s.o.TLS == nil {
			t.Errorf("idle connection ends with %s, without a timeout", how)
		}
	})
}

func TestRefuse(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		o.Behaviour.Refuse = true
		s := start(t, o)
		url := control(t, nil, s).URL + "/behaviour"
		refused := func() bool {
			p, err := tryDial(s)
			if err == nil {
				p.raw.Close()
			}
			// the file of the Unix socket is removed
			return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
		}
		if !refused() {
			t.Error("accepts from the start")
		}
		mustAsk(t, "PUT", url, `{}`)
		p := dial(t, s)
		p.send(t, []byte("line\n"))
		waitFor(t, "a line", func() bool { return s.Lines() == 1 })
		mustAsk(t, "PUT", url, `{"refuse":true}`)
		if !refused() {
			t.Error("accepts")
		}
		p.send(t, []byte("line\n"))
		waitFor(t, "a line of the connection that there was", func() bool { return s.Lines() == 2 })
		mustAsk(t, "PUT", url, `{"refuse":false}`)
		dial(t, s).send(t, []byte("line\n"))
		waitFor(t, "a line of a new one", func() bool { return s.Lines() == 3 })
	})
}

func TestHang(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		s := start(t, o)
		url := control(t, nil, s).URL + "/behaviour"
		before := dial(t, s)
		before.send(t, []byte("line\n"))
		waitFor(t, "a line", func() bool { return s.Lines() == 1 })
		mustAsk(t, "PUT", url, `{"hang":true,"idle_timeout":"100ms"}`)
		before.send(t, []byte("line\n"))
		p := dial(t, s)
		var writing sync.WaitGroup
		writing.Go(func() { p.Write([]byte("line\n")) }) // waits for the TLS handshake
		defer writing.Wait()
		waitFor(t, "the connection", func() bool { return s.Open() == 2 })
		if how := before.ends(t, 300*time.Millisecond); how != "open" || s.Lines() != 1 {
			t.Errorf("%s, with %d lines read", how, s.Lines())
		}
		mustAsk(t, "PUT", url, `{}`)
		waitFor(t, "the other lines", func() bool { return s.Lines() == 3 })
	})
}

func TestHalfClose(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		s := start(t, o)
		url := control(t, nil, s).URL + "/behaviour"
		mustAsk(t, "PUT", url, `{"half_close":true}`)
		p := dial(t, s)
		p.send(t, []byte("line\n"))
		if how := p.ends(t, patience); how != "eof" {
			t.Errorf("ends with %s", how)
		}
		p.send(t, []byte("line\n"))
		waitFor(t, "the lines behind the end", func() bool { return s.Lines() == 2 })
		mustAsk(t, "PUT", url, `{}`)
		p = dial(t, s)
		p.send(t, []byte("line\n"))
		if how := p.ends(t, 200*time.Millisecond); how != "open" {
			t.Errorf("ends with %s", how)
		}
	})
}

func TestResetUnread(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		o.Tally = tally.New(tally.Options{})
		s := start(t, o)
		url := control(t, o.Tally, s).URL + "/behaviour"
		mustAsk(t, "PUT", url, `{"reset_unread":true}`)
		p := dial(t, s)
		p.send(t, []byte("line\n"))
		waitFor(t, "a line", func() bool { return s.Lines() == 1 })
		if how := p.ends(t, 200*time.Millisecond); how != "open" {
			t.Errorf("with nothing unread it ends with %s", how)
		}
		for p.raw.SetDeadline(time.Now().Add(patience)); ; {
			if _, err := p.Write([]byte("unread\n")); err != nil { // until the reset arrives
				break
			}
		}
		waitFor(t, "its count", func() bool { return s.Counts().Reset == 1 && s.Open() == 0 })
		if n := s.Lines(); n != 1 {
			t.Errorf("%d lines read", n)
		}
		p = dial(t, s) // the sink waits for unread data, and is then told to read it
		p.send(t, []byte("line\n"))
		waitFor(t, "a line", func() bool { return s.Lines() == 2 })
		mustAsk(t, "PUT", url, `{}`)
		p.send(t, []byte("line\n"))
		waitFor(t, "a line", func() bool { return s.Lines() == 3 })
	})
}

func TestRequest(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		s := start(t, o)
		url := control(t, nil, s).URL + "/behaviour"
		p := dial(t, s)
		p.send(t, []byte("no answer to this\n"))
		waitFor(t, "the line", func() bool { return s.Lines() == 1 })
		mustAsk(t, "PUT", url, `{"request":true,"delay":"1ms"}`)
		answers := bufio.NewReader(p)
		p.send(t, []byte("two\nthr"))
		for i, send := range []string{"ee\nfour\n", "five\n", "", ""} {
			if answer, err := answers.ReadString('\n'); answer != fmt.Sprintf("ok %d\n", i+2) {
				t.Fatalf("answer %q, %v", answer, err)
			}
			p.send(t, []byte(send))
		}
		mustAsk(t, "PUT", url, `{}`)
		p.send(t, []byte("six\n"))
		waitFor(t, "the line", func() bool { return s.Lines() == 6 })
		p.closeWrite()
		if rest, err := answers.ReadString('\n'); rest != "" {
			t.Errorf("answer %q, %v", rest, err)
		}
	})
}

// A client that does not read its answers delays only itself.
func TestRequestWithoutAReader(t *testing.T) {
	s := start(t, Options{Behaviour: Behaviour{Request: true}})
	p := dial(t, s)
	var writing sync.WaitGroup
	writing.Go(func() {
		for lines := bytes.Repeat([]byte("\n"), 64<<10); ; {
			if _, err := p.Write(lines); err != nil {
				return
			}
		}
	})
	before := uint64(0)
	waitFor(t, "a standstill", func() bool {
		time.Sleep(100 * time.Millisecond)
		now := s.Lines()
		stands := now == before && now > 0
		before = now
		return stands
	})
	other := dial(t, s)
	other.send(t, []byte("line\n"))
	if answer, err := bufio.NewReader(other).ReadString('\n'); answer != "ok 1\n" {
		t.Errorf("answer %q, %v", answer, err)
	}
	s.Exit()
	writing.Wait()
}

// checkRate checks that k of n events fit a probability, within 5 sigma. A correct rate fails
// once in two million runs.
func checkRate(t *testing.T, what string, k, n int, probability float64) {
	t.Helper()
	mean := float64(n) * probability
	if sigma := math.Sqrt(mean * (1 - probability)); math.Abs(float64(k)-mean) > 5*sigma {
		t.Errorf("%s: %d of %d, want %.0f ± %.0f", what, k, n, mean, 5*sigma)
	}
}

func TestChaosRates(t *testing.T) {
	const atOnce = 32
	stream := numbered(1, 20) // more than a connection with chaos reads
	for _, tt := range []struct {
		percent float64
		when    string
		n       int // connections
	}{
		{0, AtOnce, 320}, {3, AtOnce, 1600}, {30, AtOnce, 1600}, {100, AtOnce, 320}, {30, MidStream, 1600},
		{100, MidStream, 320},
	} {
		t.Run(fmt.Sprintf("%v%% %s", tt.percent, tt.when), func(t *testing.T) {
			tl := tally.New(tally.Options{})
			s := start(t, Options{Tally: tl})
			url := control(t, tl, s).URL + "/behaviour"
			mustAsk(t, "PUT", url, fmt.Sprintf(`{"chaos":%v,"chaos_when":%q}`, tt.percent, tt.when))
			var resets atomic.Int64
			var clients sync.WaitGroup
			for range atOnce {
				clients.Go(func() {
					for range tt.n / atOnce {
						if visit(t, s, stream) == "reset" {
							resets.Add(1)
						}
					}
				})
			}
			clients.Wait()
			waitFor(t, "their ends", func() bool { return s.Open() == 0 })
			dropped := int(s.Counts().Dropped)
			checkRate(t, "connections dropped", dropped, tt.n, tt.percent/100)
			// A reset after the peer's FIN, with everything read, is not noticed by the peers of
			// some kernels.
			if seen := int(resets.Load()); seen > dropped || seen < dropped*9/10 {
				t.Errorf("%d dropped, but %d seen to be reset", dropped, seen)
			}
			if n := int(s.Accepted()); n != tt.n {
				t.Errorf("%d accepted", n)
			}
			checkChaosTally(t, tl.Report(nil), tt.n-dropped, tt.when == MidStream && dropped > 0)
		})
	}
}

// checkChaosTally checks that connections without chaos delivered all of their 20 lines, and
// others only whole lines and cut-off ones.
func checkChaosTally(t *testing.T, r tally.Report, whole int, midStream bool) {
	t.Helper()
	minRecords, maxRecords := uint64(whole*20), uint64(whole*20)
	if midStream {
		maxRecords += 1 << 20
	}
	if r.Received < minRecords || r.Received > maxRecords || r.Corrupt+r.Torn+r.Foreign > 0 ||
		midStream != (r.Cut > 0) {
		t.Errorf("%d connections without chaos brought %d records; %v; %d lines cut off", whole, r.Received, r.Err(),
			r.Cut)
	}
}

func TestBehaviourIsChecked(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"delay":"-1s"}`:                       "delay -1s: want a duration from 0s",
		`{"delay":"25h"}`:                       "delay 25h",
		`{"delay":5}`:                           "behaviour",
		`{"delay":"5"}`:                         `"5" is not a duration: want 500ms`,
		`{"idle_timeout":"48h"}`:                "idle timeout 48h",
		`{"read_rate":-1}`:                      "read rate -1",
		`{"read_rate":1.5}`:                     "read_rate",
		`{"max_connections":-1}`:                "max connections -1",
		`{"chaos":101}`:                         "chaos 101: want a percentage",
		`{"chaos":-0.1}`:                        "chaos -0.1",
		`{"chaos_when":"never"}`:                `chaos when "never": want at-once or mid-stream`,
		`{"half_close":true,"request":true}`:    "half close and request",
		`{"hangs":true}`:                        `unknown field "hangs"`,
		`{"hang":true`:                          "unexpected end of JSON",
		`{"hang":true} {"hang":false}`:          "after top-level value",
		`null`:                                  "behaviour",
		`[]`:                                    "want an object",
		``:                                      "unexpected end of JSON",
		strings.Repeat(" ", maxBody+1) + `{}`:   "too large",
		`{"delay":"1ms","chaos":-1,"delay":""}`: "not a duration",
	} {
		t.Run(body[:min(len(body), 40)], func(t *testing.T) {
			b := Behaviour{Delay: time.Millisecond}
			s := start(t, Options{Behaviour: b})
			url := control(t, nil, s).URL + "/behaviour"
			for _, method := range []string{"PUT", "PATCH"} {
				if code, answer := ask(t, method, url, body); code != 400 ||
					!strings.Contains(strings.ReplaceAll(answer, `\"`, `"`), want) {
					t.Errorf("%s: %d %s", method, code, answer)
				}
			}
			if s.Behaviour() != b {
				t.Errorf("behaviour %+v", s.Behaviour())
			}
		})
	}
}

func TestBehaviourAsJSON(t *testing.T) {
	want := Behaviour{Delay: 250 * time.Millisecond, ReadRate: 1 << 40, MaxConnections: 3, IdleTimeout: time.Hour,
		Refuse: true, Chaos: 2.5, ChaosWhen: MidStream, Hang: true, ResetUnread: true, Request: true}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Behaviour
	if err := json.Unmarshal(data, &got); err != nil || got != want {
		t.Errorf("%+v, %v from %s", got, err, data)
	}
	if !bytes.Contains(data, []byte(`"delay":"250ms"`)) {
		t.Errorf("%s", data)
	}
}
