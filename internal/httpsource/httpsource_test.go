package httpsource

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"linesplit/linebuf"
)

// inBubble runs a test with a rig.
func inBubble(t *testing.T, e Endpoint, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 16<<20, e)
		test(r)
		r.end()
	})
}

// The answer comes once each required group has confirmed all lines, and not before.
func TestAnswerWaitsForAllGroups(t *testing.T) {
	inBubble(t, Endpoint{}, func(r *rig) {
		body := strings.Repeat("some line\n", 30_000)
		done := r.post(strings.NewReader(body + "the last one"))
		r.expectNone(done)
		if got := r.lines(); got != body+"the last one\n" {
			r.Errorf("%d bytes were handed over, want %d", len(got), len(body)+13)
		}
		r.confirm(0)
		r.expectNone(done)
		r.confirm(2)
		if a := r.expect(done, http.StatusOK); a.answer != (answer{}) {
			r.Errorf("%+v", a)
		}
		done = r.post(strings.NewReader(""))
		r.expect(done, http.StatusOK)
	})
}

// Whatever the pieces are in which a body comes, its lines are the same, and the first one that is
// too long is named.
func TestRecords(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		s := New(Options{Pool: linebuf.NewPool(16 << 20), Required: 1})
		var text []byte
		bad, lines := 0, 0
		for range rng.IntN(40) {
			n := rng.IntN(300)
			if rng.IntN(20) == 0 {
				n = rng.IntN(40_000)
			}
			text = append(append(text, bytes.Repeat([]byte{'x'}, n)...), '\n')
			if lines++; n+1 > 20_000 && bad == 0 {
				bad = lines
			}
		}
		whole := bytes.Clone(text)
		if n := rng.IntN(3); n > 0 && len(text) > 1 && text[len(text)-2] != '\n' {
			text = text[:len(text)-1]
		}
		b := &body{s: s, ctx: t.Context(), maxLine: 20_000, max: 1 << 20}
		var from io.Reader = bytes.NewReader(text)
		switch rng.IntN(4) {
		case 0:
			from = iotest.OneByteReader(from)
		case 1:
			from = iotest.DataErrReader(from)
		case 2:
			from = iotest.HalfReader(from)
		}
		size := int64(-1)
		if rng.IntN(2) == 0 {
			size = int64(len(text))
		}
		err := b.read(from, size)
		var got []byte
		n := 0
		for _, x := range b.buffers {
			got = append(got, x.B...)
			n += x.Lines
		}
		switch long, isLong := err.(errLong); {
		case bad > 0 && (!isLong || long.record != bad):
			t.Errorf("%d: got %v, want record %d", i, err, bad)
		case bad == 0 && (err != nil || !bytes.Equal(got, whole) || n != lines || b.lines != lines):
			t.Errorf("%d: %v, %d bytes of %d, %d lines of %d", i, err, len(got), len(whole), n, lines)
		}
		b.release()
		if s.o.Pool.InUse() != 0 || s.room.taken() != 0 {
			t.Fatalf("%d: %d bytes in use, %d taken", i, s.o.Pool.InUse(), s.room.taken())
		}
	}
}

func gzipped(text string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	io.WriteString(z, text)
	z.Close()
	return out.Bytes()
}

func zstded(text string, options ...zstd.EOption) []byte {
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, append(options, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		panic(err)
	}
	io.WriteString(z, text)
	z.Close()
	return out.Bytes()
}

func TestCompressedBodies(t *testing.T) {
	inBubble(t, Endpoint{}, func(r *rig) {
		text := strings.Repeat("a compressed line\n", 5000)
		for _, tc := range []struct {
			encoding string
			body     []byte
		}{
			{"identity", []byte(text)}, {"gzip", gzipped(text)}, {"x-gzip", append(gzipped(text[:1800]), gzipped(text[1800:])...)},
			{"zstd", zstded(text)}, {"zstd", append(zstded(text[:18]), zstded(text[18:])...)},
		} {
			done := r.post(bytes.NewReader(tc.body), "Content-Encoding", tc.encoding)
			r.expectNone(done)
			if got := r.lines(); got != text {
				r.Errorf("%s: %d bytes, want %d", tc.encoding, len(got), len(text))
			}
			r.confirm(0)
			r.confirm(2)
			r.expect(done, http.StatusOK)
		}
	})
}

// A request that is refused has delivered nothing, and says why.
func TestRefusedRequests(t *testing.T) {
	long := strings.Repeat("x", 1<<10)
	var noise strings.Builder
	for i := range 2000 {
		fmt.Fprintln(&noise, i*i*7919)
	}
	good := strings.Repeat("good\n", 20_000)
	inBubble(t, Endpoint{Path: "/in", Token: token("a token"), MaxRequest: 250_000}, func(r *rig) {
		for name, tc := range map[string]struct {
			body   []byte
			header []string
			status int
			record int
		}{
			"no token":       {[]byte("x\n"), []string{"Authorization", ""}, 401, 0},
			"wrong token":    {[]byte("x\n"), []string{"Authorization", "Bearer b token"}, 401, 0},
			"wrong scheme":   {[]byte("x\n"), []string{"Authorization", "Basic a token"}, 401, 0},
			"long":           {[]byte(good + long + "\n" + good), nil, 400, 20_001},
			"long, last":     {[]byte("x\n" + long), nil, 400, 2},
			"long, alone":    {bytes.Repeat([]byte("y"), 100_000), nil, 400, 1},
			"origin":         {[]byte("x\n"), []string{"Origin", "http://elsewhere"}, 403, 0},
			"encoding":       {[]byte("x\n"), []string{"Content-Encoding", "br"}, 415, 0},
			"not gzip":       {[]byte("{}\n{}\n{}\n{}\n"), []string{"Content-Encoding", "gzip"}, 400, 1},
			"not zstd":       {[]byte("{}\n{}\n{}\n{}\n"), []string{"Content-Encoding", "zstd"}, 400, 1},
			"empty, as zstd": {nil, []string{"Content-Encoding", "zstd"}, 400, 1},
			"cut gzip":       {gzipped(noise.String())[:2000], []string{"Content-Encoding", "gzip"}, 400, -1},
			"cut zstd":       {zstded(noise.String())[:2000], []string{"Content-Encoding", "zstd"}, 400, -1},
			"trash behind":   {append(gzipped("x\ny\n"), "trash, and more of it"...), []string{"Content-Encoding", "gzip"}, 400, 3},
			"window":         {zstded(strings.Repeat(good, 100), zstd.WithWindowSize(16<<20)), []string{"Content-Encoding", "zstd"}, 400, 1},
			"large":          {[]byte(good + good + good), nil, 413, 0},
			"gzip bomb":      {gzipped(good + good + good), []string{"Content-Encoding", "gzip"}, 413, 0},
			"zstd bomb":      {zstded(good+good+good, zstd.WithWindowSize(1<<20)), []string{"Content-Encoding", "zstd"}, 413, 0},
		} {
			var body io.Reader = bytes.NewReader(tc.body)
			if len(tc.body)%2 == 0 {
				body = io.MultiReader(body) // of unknown size
			}
			got := r.expect(r.post(body, append([]string{"Authorization", "Bearer a token"}, tc.header...)...), tc.status)
			if got.Delivered != deliveredNone || got.Error == "" || got.Record != tc.record && tc.record >= 0 {
				r.Errorf("%s: %+v", name, got)
			}
			if got := r.lines(); got != "" {
				r.Errorf("%s: %.40q was delivered", name, got)
			}
		}
		if st := r.server.Stats(); st.Body != 0 || r.pool.InUse() != 0 {
			r.Errorf("%+v, %d bytes in use", st, r.pool.InUse())
		}
		for _, tc := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/in", 200}, {"HEAD", "/in", 200}, {"DELETE", "/in", 405}, {"POST", "/out", 404}, {"GET", "/", 404},
		} {
			q, _ := http.NewRequest(tc.method, "http://test"+tc.path, nil)
			r.expect(r.do(q), tc.status)
		}
	})
}

type token string

func (t token) Matches(sent string) bool { return sent == string(t) }

// A client that asks first need not send a body that would be refused.
func TestExpectContinue(t *testing.T) {
	inBubble(t, Endpoint{Token: token("secret"), MaxRequest: 100}, func(r *rig) {
		read := 0
		body := func(text string) io.Reader { return &counting{strings.NewReader(text), &read} }
		r.expect(r.post(body("a\n"), "Expect", "100-continue"), 401)
		q, _ := http.NewRequest("PUT", "http://test/", body(""))
		q.ContentLength = 101
		q.Header.Set("Expect", "100-continue")
		q.Header.Set("Authorization", "bearer secret")
		r.expect(r.do(q), 413)
		if read > 0 {
			r.Errorf("%d bytes were sent", read)
		}
		for range 2 {
			done := r.post(body("a\n"), "Expect", "100-continue", "Authorization", "Bearer secret")
			r.expectNone(done)
			r.confirm(0)
			r.confirm(2)
			r.expect(done, 200)
			time.Sleep(time.Minute) // the deadline of the first answer must not end the second one
		}
		if read != 4 {
			r.Errorf("%d bytes were sent", read)
		}
	})
}

type counting struct {
	io.Reader
	n *int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += n
	return n, err
}

// While there is no room for lines, or no memory, requests are to be sent again.
func TestBackpressure(t *testing.T) {
	inBubble(t, Endpoint{}, func(r *rig) {
		r.setFull(true)
		done := r.post(strings.NewReader("a\n"))
		time.Sleep(patience - time.Second)
		r.expectNone(done)
		r.setFull(false)
		synctest.Wait()
		r.confirm(0)
		r.confirm(2)
		r.expect(done, 200)

		r.setFull(true)
		done = r.post(strings.NewReader("b\n"))
		time.Sleep(patience)
		if a := r.expect(done, 429); a.retry != "5" || a.Delivered != deliveredNone {
			r.Errorf("%+v", a)
		}
		r.setFull(false)
		if r.lines() != "" {
			r.Errorf("%q was delivered", r.lines())
		}

		all := r.pool.TryGet(int(r.pool.Limit()))
		done = r.post(strings.NewReader("c\n"))
		time.Sleep(patience)
		r.expect(done, 429)
		r.pool.Put(all)
		if err := r.server.room.take(r.Context(), r.server.room.limit); err != nil {
			r.Fatal(err)
		}
		done = r.post(strings.NewReader("d\n"))
		time.Sleep(patience)
		r.expect(done, 429)
		r.server.room.give(r.server.room.limit)
	})
}

// Lines that are not confirmed in time are in doubt. Too many of them hold up later requests, so
// that clients that repeat theirs do not fill the memory with copies.
func TestUnconfirmedLines(t *testing.T) {
	inBubble(t, Endpoint{Timeout: 10 * time.Second}, func(r *rig) {
		body := strings.Repeat("line\n", 200_000)
		sent := 0
		for ; r.server.overdue.Load() <= r.server.overdueMax; sent++ {
			done := r.post(strings.NewReader(body))
			time.Sleep(10 * time.Second)
			if a := r.expect(done, 503); a.retry != "5" || a.Delivered != inDoubt || a.Lines != 200_000 {
				r.Errorf("%+v", a)
			}
		}
		if sent != 3 {
			r.Errorf("%d requests were taken", sent)
		}
		r.expect(r.post(strings.NewReader(body)), 429)
		r.confirm(0)
		r.confirm(2)
		done := r.post(strings.NewReader("line\n"))
		synctest.Wait()
		r.confirm(0)
		r.confirm(2)
		r.expect(done, 200)
	})
}

// A client that leaves leaves nothing behind but its lines.
func TestClientLeaves(t *testing.T) {
	inBubble(t, Endpoint{}, func(r *rig) {
		c := r.dial()
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc\n")
		synctest.Wait()
		c.Close()
		synctest.Wait()
		if r.lines() != "" || r.pool.InUse() != 0 {
			r.Errorf("%q was delivered; %d bytes in use", r.lines(), r.pool.InUse())
		}
		c = r.dial()
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabc\n")
		synctest.Wait()
		c.Close()
		synctest.Wait()
		if r.lines() != "abc\n" || r.server.Stats().Overdue != 4 {
			r.Errorf("%q was delivered; %+v", r.lines(), r.server.Stats())
		}
		slow := r.dial()
		fmt.Fprintf(slow, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc\n")
		time.Sleep(46 * time.Second)
		text, _ := io.ReadAll(slow)
		if !strings.HasPrefix(string(text), "HTTP/1.1 408 ") {
			r.Errorf("%q", text)
		}
		slow.Close()
	})
}

// Lines that are dropped are not answered for with 200.
func TestDroppedLines(t *testing.T) {
	inBubble(t, Endpoint{}, func(r *rig) {
		r.keyless = []byte("-")
		done := r.post(strings.NewReader("-a\nb\n-c\n"))
		synctest.Wait()
		r.confirm(0)
		r.confirm(2)
		if a := r.expect(done, 422); a.Dropped != 2 || a.Lines != 3 || a.Delivered != deliveredSome || a.retry != "" {
			r.Errorf("%+v", a)
		}
		done = r.post(strings.NewReader("a\nb\n"))
		synctest.Wait()
		r.got[len(r.got)-3].Lose(2)
		r.confirm(0)
		r.confirm(2)
		if a := r.expect(done, 422); a.Dropped != 2 || a.Lines != 2 || a.Delivered != deliveredNone {
			r.Errorf("%+v", a)
		}
	})
}

// At the end, requests whose lines are confirmed get 200, even after the time for reading, and
// others 503. Serve returns once no more lines can come.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 16<<20, Endpoint{})
		idle := r.dial()
		first := r.post(strings.NewReader("first\n"))
		synctest.Wait()
		second := r.post(strings.NewReader("second\n"))
		reading := r.dial()
		fmt.Fprintf(reading, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc\n")
		late := r.dial()
		synctest.Wait()
		r.endSoft()
		synctest.Wait()
		fmt.Fprintf(late, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nlate\n")
		synctest.Wait()
		if got := r.lines(); got != "first\nsecond\nlate\n" {
			t.Errorf("%q was delivered", got)
		}
		time.Sleep(r.limits.Drain)
		text, _ := io.ReadAll(reading)
		if !strings.HasPrefix(string(text), "HTTP/1.1 503 ") || !strings.Contains(string(text), `"none"`) {
			t.Errorf("%q", text)
		}
		if _, err := idle.Read(make([]byte, 1)); err == nil {
			t.Error("an idle connection is not closed")
		}
		if err := <-r.served; err != nil {
			t.Error(err)
		}
		r.expectNone(first)
		r.mu.Lock()
		for i := range 3 { // those of the first request
			r.pool.Put(r.got[i])
			r.got[i] = nil
		}
		r.mu.Unlock()
		r.expect(first, 200)
		answers := make(chan string, 1)
		go func() {
			text, _ := io.ReadAll(late)
			answers <- string(text)
		}()
		r.server.Finish()
		if a := r.expect(second, 503); a.Delivered != inDoubt {
			t.Errorf("%+v", a)
		}
		if text := <-answers; !strings.HasPrefix(text, "HTTP/1.1 503 ") || !strings.Contains(text, "Connection: close") {
			t.Errorf("%q", text)
		}
		r.served <- nil
		r.end()
	})
}

// The hard end closes everything.
func TestHardEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 16<<20, Endpoint{})
		first := r.post(strings.NewReader("first\n"))
		r.dial()
		synctest.Wait()
		r.endHard()
		synctest.Wait()
		if a := <-first; a.err == nil && a.status != 503 {
			t.Errorf("%+v", a)
		}
		r.end()
	})
}

// A record may be as long as the largest request, and the memory for bodies is enough for it.
func TestLongestRecord(t *testing.T) {
	const memory = 1 << 20
	s := New(Options{Pool: linebuf.NewPool(memory), Required: 1})
	most := s.room.limit / largestOfBodies
	for _, size := range []int64{-1, most} {
		b := &body{s: s, ctx: t.Context(), maxLine: 1 << 30, max: most}
		if err := b.read(bytes.NewReader(bytes.Repeat([]byte("x"), int(most))), size); err != nil || b.lines != 1 {
			t.Errorf("%v, %d lines", err, b.lines)
		}
		b.release()
	}
	if s.o.Pool.InUse() != 0 || s.room.taken() != 0 {
		t.Errorf("%d bytes in use, %d taken", s.o.Pool.InUse(), s.room.taken())
	}
}

// Those that wait for room get it first in, first out, and those that give up are not in the way.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(10)
		take := func(n int64, wait time.Duration) chan error {
			done := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				done <- r.take(ctx, n)
			}()
			synctest.Wait()
			return done
		}
		first := take(8, time.Hour)
		large, small := take(20, time.Minute), take(2, time.Hour)
		if <-first != nil || len(large)+len(small) > 0 {
			t.Error("the small one has overtaken the large one")
		}
		time.Sleep(time.Minute)
		if <-large == nil || <-small != nil || r.taken() != 10 {
			t.Errorf("%d are taken", r.taken())
		}
		r.give(10)
		if alone := take(20, 0); <-alone != nil || r.taken() != 20 {
			t.Error("what is larger than the limit has to wait for ever")
		}
	})
}
