package relpsource

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/framing"
	"linesplit/internal/relp"
)

// Responses come once lines are confirmed, in the order of the frames.
func TestResponsesWaitForConfirmation(t *testing.T) {
	simulate(t, 8, func(r *rig) {
		c := r.open()
		c.send(relp.Syslog, "one", "two\n", "")
		first := r.buffer("one\ntwo\n\n")
		if first.Lines != 3 || first.Framing != framing.Newline || first.Read.IsZero() {
			t.Errorf("%+v", first)
		}
		c.send(relp.Syslog, "three")
		second := r.buffer("three\n")
		r.pool.Put(second)
		c.expect()
		time.Sleep(10 * time.Minute) // a client that waits is not idle
		c.expect()
		r.pool.Put(first)
		c.expect("2 rsp 200 OK", "3 rsp 200 OK", "4 rsp 200 OK", "5 rsp 200 OK")
		c.send(relp.Syslog, "four")
		last := r.buffer("four\n")
		c.send(relp.Close, "")
		c.expect()
		r.pool.Put(last)
		c.expect("6 rsp 200 OK", "7 rsp", "0 serverclose")
		<-c.ended
	})
}

// A line with newlines within it is a record of octet counting, and has a buffer of its own kind.
func TestNewlinesWithinLines(t *testing.T) {
	simulate(t, 8, func(r *rig) {
		c := r.open()
		c.send(relp.Syslog, "one", "two\nlines\n", "more\nof\n\n", "three")
		for _, want := range []string{"one\n", "9 two\nlines8 more\nof\n", "three\n"} {
			b := r.buffer(want)
			if octet := want[0] == '9'; octet != (b.Framing == framing.Octet) || octet != (b.Lines == 2) {
				t.Errorf("%q has framing %v and %d lines", want, b.Framing, b.Lines)
			}
			r.pool.Put(b)
		}
		c.expect("2 rsp 200 OK", "3 rsp 200 OK", "4 rsp 200 OK", "5 rsp 200 OK")
	})
}

// A line that is too long is dropped and counted. The client does not send it again.
func TestLongLines(t *testing.T) {
	simulate(t, 8, func(r *rig) {
		c := r.open()
		for _, size := range []int{64<<10 - 1, 64 << 10, 200 << 10} {
			c.send(relp.Syslog, "a", strings.Repeat("x", size), "b")
		}
		for _, want := range []string{"a\n", strings.Repeat("x", 64<<10-1) + "\n", "b\n", "a\n", "b\n", "a\n", "b\n"} {
			r.pool.Put(r.buffer(want))
		}
		var want []string
		for i := range 9 {
			want = append(want, fmt.Sprint(2+i, " rsp 200 OK"))
		}
		c.expect(want...)
		if s := r.splitter.Stats(); s.Dropped[0].Lines != 2 {
			t.Errorf("counted %+v", s)
		}
		if n := r.server.long.Load(); n != 0 {
			t.Errorf("%d bytes of long frames are charged", n)
		}
	})
}

// While targets take no lines, the server reads no more, and answers nothing.
func TestBackpressure(t *testing.T) {
	simulate(t, 1, func(r *rig) {
		c := r.open()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 5 {
				c.send(relp.Syslog, fmt.Sprint(i))
			}
		}()
		c.expect()
		select {
		case <-done:
			t.Error("all frames were read")
		default:
		}
		for i := range 5 {
			r.pool.Put(r.buffer(fmt.Sprint(i, "\n")))
		}
		<-done
		c.expect("2 rsp 200 OK", "3 rsp 200 OK", "4 rsp 200 OK", "5 rsp 200 OK", "6 rsp 200 OK")
	})
}

// At the end, lines that are confirmed by then have their responses. Others have none, and what was
// not read is not taken.
func TestEnd(t *testing.T) {
	simulate(t, 8, func(r *rig) {
		c, d := r.open(), r.open()
		c.send(relp.Syslog, "confirmed")
		d.send(relp.Syslog, "not confirmed")
		confirmed, open := r.buffer("confirmed\n"), r.buffer("not confirmed\n")
		r.endSoft()
		if err := <-r.served; err != nil {
			t.Error(err)
		}
		r.served <- nil // for end
		go c.send(relp.Syslog, "too late")
		c.expect()
		r.pool.Put(confirmed)
		c.expect("2 rsp 200 OK", "0 serverclose")
		open.Forsake()
		r.pool.Put(open)
		r.server.Finish()
		d.expect()
		<-d.ended
	})
}

// A hard end closes sessions at once, whatever they wait for.
func TestHardEnd(t *testing.T) {
	simulate(t, 1, func(r *rig) {
		c := r.open()
		go c.send(relp.Syslog, "one")
		first := r.buffer("one\n")
		for range 3 {
			d := r.open()
			go d.send(relp.Syslog, "waits for room")
		}
		synctest.Wait()
		r.endHard()
		<-c.ended
		r.pool.Put(first)
	})
}

// Clients that speak something else, that say nothing or that leave are forgotten.
func TestBadClients(t *testing.T) {
	simulate(t, 8, func(r *rig) {
		for _, text := range []string{"{\"a\":1}\n", "GET / HTTP/1.1\r\n\r\n", "1 syslog 1 a\n", "1 open 0\n", "1 open 20 relp_version=0\nabcdef\n", "1 open", ""} {
			c := r.dial()
			go c.nc.Write([]byte(text))
			time.Sleep(2 * openTimeout)
			<-c.ended
		}
		c := r.open()
		time.Sleep(2 * time.Minute)
		<-c.ended
		c = r.open()
		c.send(relp.Syslog, "one")
		b := r.buffer("one\n")
		c.nc.Close()
		synctest.Wait()
		r.pool.Put(b)
	})
}
