package acked

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/relp"
)

// relpPeer is a server as a test plays it.
type relpPeer struct {
	t    *testing.T
	conn io.ReadWriteCloser
	got  bytes.Buffer // all that has come
	in   *relp.Reader
}

func newRELPPeer(t *testing.T, conn io.ReadWriteCloser) *relpPeer {
	p := &relpPeer{t: t, conn: conn}
	p.in = relp.NewReader(bufio.NewReader(io.TeeReader(conn, &p.got)), relp.MaxData)
	return p
}

// accept answers the offer of the client.
func (p *relpPeer) accept() {
	if f := p.next(); f.Command != relp.Open || f.Number != 1 {
		p.t.Errorf("%+v instead of an offer", f)
	}
	p.say(string(relp.AppendResponse(nil, 1, relp.OK, "OK", []byte("relp_version=0\ncommands=syslog"))))
}

// next returns the next frame. It is empty when the client has gone.
func (p *relpPeer) next() relp.Frame {
	f, err := p.in.Next()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		p.t.Log(err) // the client breaks off in some tests
	}
	return f
}

// lines returns the next n lines.
func (p *relpPeer) lines(n int) (lines []string) {
	for range n {
		f := p.next()
		if f.Command != relp.Syslog {
			p.t.Errorf("%+v instead of line %d", f, len(lines))
			return lines
		}
		lines = append(lines, string(f.Data))
	}
	return lines
}

func (p *relpPeer) say(text string) { io.WriteString(p.conn, text) }

// confirm answers with 200 under the numbers.
func (p *relpPeer) confirm(numbers ...int) {
	var b []byte
	for _, n := range numbers {
		b = relp.AppendResponse(b, uint32(n), relp.OK, "OK", nil)
	}
	p.conn.Write(b)
}

// pipeRELP returns a sender and its peer, and runs serve with the peer after the sender's session
// was opened. It must be called within a bubble of synctest, in which serve ends by itself.
func pipeRELP(t *testing.T, serve func(p *relpPeer)) *relpSender {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		defer server.Close()
		p := newRELPPeer(t, server)
		p.accept()
		serve(p)
	}()
	s := newRELPSender(address(t, "relp://192.0.2.1:2514"), client, testRejects(t, io.Discard))
	must(t, s.open(t.Context(), "1.2"))
	return s
}

func TestRELPBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 1)
		s := pipeRELP(t, func(p *relpPeer) {
			p.lines(3)
			p.confirm(2, 3, 4)
			p.lines(1)
			p.confirm(5)
			p.next()
			got <- p.got.String()
		})
		for _, p := range []Part{part("hello", "", "a\x00 \rb"), part("x"), {}} {
			if refused, err := s.Send(t.Context(), p); err != nil || refused != nil {
				t.Errorf("%q: %v, %v", p.Bytes, refused, err)
			}
		}
		s.Close()
		const want = "1 open 58 relp_version=0\nrelp_software=linesplit,1.2\ncommands=syslog\n" +
			"2 syslog 5 hello\n3 syslog 0\n4 syslog 5 a\x00 \rb\n5 syslog 1 x\n6 close 0\n"
		if text := <-got; text != want {
			t.Errorf("sent %q, want %q", text, want)
		}
	})
}

// At most 128 frames are unanswered, and a response alone makes no write of one frame.
func TestRELPWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := numbered(0, 500)
		var got []string
		var server *relpPeer
		s := pipeRELP(t, func(p *relpPeer) {
			server = p
			for {
				f := p.next()
				if f.Command != relp.Syslog {
					return
				}
				got = append(got, string(f.Data))
			}
		})
		done := make(chan struct{})
		number := 1
		answer := func(n int) {
			for range n {
				number++
				server.confirm(number)
			}
			synctest.Wait()
		}
		go func() {
			defer close(done)
			if refused, err := s.Send(t.Context(), part(lines...)); err != nil || refused != nil {
				t.Error(refused, err)
			}
		}()
		for _, step := range []struct{ answered, sent int }{
			{0, 128}, {63, 128}, {1, 192}, {128, 320}, {64, 384}, {63, 384}, {2, 448}, {50, 448}, {1, 500}, {127, 500},
		} {
			answer(step.answered)
			if len(got) != step.sent {
				t.Fatalf("%d lines sent after %d answers more, want %d", len(got), step.answered, step.sent)
			}
		}
		select {
		case <-done:
			t.Error("Send has returned before the last response")
		default:
		}
		answer(1)
		<-done
		s.Close()
		if !slices.Equal(got, lines) {
			t.Errorf("%d lines, not those that were sent", len(got))
		}
	})
}

// Transaction numbers begin again after 999,999,999, within a window and at its edges.
func TestRELPNumbersBeginAgain(t *testing.T) {
	for before := range maxUnanswered + 1 {
		s := newRELPSender(address(t, "relp://192.0.2.1:2514"), nil, nil)
		s.next = relp.MaxNumber - uint32(before) + 1
		if before == 0 {
			s.next = 1
		}
		first := s.next
		lines := part(numbered(0, maxUnanswered)...)
		var line Part
		for lines.Lines > 0 {
			line, lines = cutLine(lines)
			s.add(relp.Syslog, nil, line)
		}
		number := first
		var numbers []uint32
		for range maxUnanswered {
			numbers = append(numbers, number)
			number = relp.Next(number)
		}
		if s.next != number || before > 0 && before < maxUnanswered && number > maxUnanswered {
			t.Fatalf("next is %d, want %d", s.next, number)
		}
		for _, wrong := range []uint32{0, number, relp.Next(number), relp.MaxNumber / 2} {
			if _, err := s.window.answer(wrong); err == nil {
				t.Errorf("a response to %d is taken from %d on", wrong, first)
			}
		}
		slices.Reverse(numbers[64:])
		for i, n := range numbers {
			if i >= 64 {
				i = 64 + maxUnanswered - 1 - i
			}
			if line, err := s.window.answer(n); err != nil || line.from != i {
				t.Fatalf("the response to %d is for line %d, not %d: %v", n, line.from, i, err)
			}
			if _, err := s.window.answer(n); err == nil {
				t.Errorf("a second response to %d is taken", n)
			}
		}
		if s.window.count != 0 || s.window.number != s.next {
			t.Errorf("the window has %d frames from %d on, and next is %d", s.window.count, s.window.number, s.next)
		}
	}
}

// Servers may answer in any order. Those lines are refused whose response says so, and Send returns
// them in their own order, with what the server has said.
func TestRELPRefusesLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pipeRELP(t, func(p *relpPeer) {
			p.lines(5)
			p.say("6 rsp 9 500 no \x1b!\n")
			p.confirm(4)
			p.say("3 rsp 3 404\n")
			p.confirm(2, 5)
			p.lines(1)
			p.say("7 rsp 9 500 again\n") // it has taken others
			p.next()
		})
		lines := part("a", "b", "c", "d", "e")
		refused, err := s.Send(t.Context(), lines)
		if err != nil || len(refused) != 2 {
			t.Fatal(refused, err)
		}
		for i, want := range []struct{ line, answer string }{{"b\n", `404 ""`}, {"e\n", `500 "no \x1b!"`}} {
			if r := refused[i]; string(r.Bytes) != want.line || r.Answer != want.answer || r.Lines != 1 || r.ID() == lines.ID() {
				t.Errorf("%q, %q; want %q", r.Bytes, r.Answer, want)
			}
		}
		refused, err = s.Send(t.Context(), refused[1].Part)
		if err != nil || len(refused) != 1 || string(refused[0].Bytes) != "e\n" {
			t.Errorf("%+v, %v", refused, err)
		}
		s.Close()
	})
}

// A server that has taken no line yet and refuses all is doubted for a minute, as one of HTTP is:
// rsyslogd says 500 to all lines while the command syslog is disabled.
func TestRELPDoubts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rejects := testRejects(t, io.Discard)
		send := func(answers string) ([]Refused, error) {
			s := pipeRELP(t, func(p *relpPeer) {
				p.lines(10)
				p.say(answers)
				p.next()
			})
			defer s.Close()
			s.rejects = rejects
			return s.Send(t.Context(), part(numbered(0, 10)...))
		}
		var none, one string
		for n := range 10 {
			none += fmt.Sprintf("%d rsp 20 500 command disabled\n", n+2)
		}
		one = strings.Replace(none, "7 rsp 20 500 command disabled", "7 rsp 3 200", 1)
		for range 2 {
			const text = `the server has taken no line yet, and refuses all: 500 "command disabled" (is the address right?)`
			if refused, err := send(none); err == nil || !strings.Contains(err.Error(), text) {
				t.Error(refused, err)
			}
			time.Sleep(doubtFor - time.Second)
		}
		if refused, err := send(none); err != nil || len(refused) != 10 {
			t.Error("not believed:", refused, err)
		}
		clear(rejects.doubted)
		for _, said := range []string{one, none} {
			if refused, err := send(said); err != nil || len(refused) != strings.Count(said, "500") {
				t.Error(refused, err)
			}
		}
	})
}

// What a server says that makes Send fail, after the lines 2, 3 and 4 have come.
var relpFaults = map[string]string{
	"5 rsp 6 200 OK\n":                  "a response to transaction 5, which was not sent; the oldest of 3 unanswered ones is 2; lines without a response: 3",
	"1 rsp 6 200 OK\n":                  "a response to transaction 1, which was not sent",
	"0 rsp 6 200 OK\n":                  "a response to transaction 0, which was not sent",
	"999999999 rsp 6 200 OK\n":          "a response to transaction 999999999, which was not sent",
	"3 rsp 3 200\n3 rsp 6 200 OK\n":     "a second response to transaction 3; lines without a response: 2",
	"2 rsp 3 200\n2 rsp 6 200 OK\n":     "a response to transaction 2, which was not sent; the oldest of 2 unanswered ones is 3",
	"2 syslog 3 200\n":                  `the command "syslog" instead of a response`,
	"2 serverclose 0\n":                 `the command "serverclose" instead of a response`,
	"0 abort 0\n":                       `the command "abort" instead of a response`,
	"2 rsp 3 200\n0 serverclose 0\n":    "the server ends the session (serverclose); lines without a response: 2",
	"2 rsp 0\n":                         `RELP response "" has no status`,
	"2 rsp 2 OK\n":                      `RELP response "OK" has no status`,
	"2 rsp 5 OKAY!\n":                   `"OKA" instead of a status`,
	"2 rsp 6 200 OK!":                   `RELP frame: '!' instead of a line feed after the data`,
	"HTTP/1.1 400 Bad Request\r\n\r\n":  `RELP frame: the transaction number begins with 'H'`,
	"2 rsp 999999999 200 OK\n":          "RELP frame: too much data: 999999999 bytes, and the limit is 65536",
	"2 rsp 3 200\n3 rsp 3 200\n":        "the server has closed the connection; lines without a response: 1",
	"2 rsp 3 200\n3 rsp 3 200\n4 rsp 6": "RELP frame: within the length of the data: unexpected EOF; lines without a response: 1",
	"":                                  "the server has closed the connection; lines without a response: 3",
}
