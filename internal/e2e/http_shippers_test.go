//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// The requests of shippers, as these write them: Fluent Bit's output http with format json_lines,
// plain and compressed, on a connection that stays open, and rsyslog's omhttp with batches of
// lines, whose last one has no newline, and which waits for 100 Continue.
func TestRequestsOfShippers(t *testing.T) {
	t.Parallel()
	s := newWebStage(t, 1, false, "linger=5ms")
	s.start("-listen", "http://127.0.0.1:0/lines")
	addr, _, _ := bytes.Cut([]byte(s.Process.Listeners[0]), []byte("/"))
	conn, err := net.Dial("tcp", string(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testrig.Patience))
	in := bufio.NewReader(conn)
	answered := func(want int) {
		t.Helper()
		a, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != want {
			t.Fatalf("answered %s, want %d", a.Status, want)
		}
	}
	for _, headers := range []string{
		"Content-Type: application/json\r\nUser-Agent: Fluent-Bit\r\n",
		"Content-Type: application/x-ndjson\r\nUser-Agent: Fluent-Bit\r\nContent-Encoding: gzip\r\n",
		"Accept: */*\r\nContent-Type: text/plain; charset=utf-8\r\nExpect: 100-continue\r\n",
	} {
		body := s.NumberedLines(500, 120)
		if bytes.Contains([]byte(headers), []byte("gzip")) {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			z.Write(body)
			z.Close()
			body = packed.Bytes()
		}
		waits := bytes.Contains([]byte(headers), []byte("Expect"))
		if waits {
			body = bytes.TrimSuffix(body, []byte{'\n'})
		}
		fmt.Fprintf(conn, "POST /lines HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n", addr, len(body), headers)
		if waits {
			answered(http.StatusContinue)
		}
		conn.Write(body)
		answered(http.StatusOK)
	}
	conn.Close()
	s.FinishLineMode(testrig.NoDuplicates)
}

// Python's standard library sends lines, and sees why they are refused.
func TestPythonRequests(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	s := newWebStage(t, 1, false, "linger=5ms")
	s.start("-listen", "http://127.0.0.1:0/lines", "-max-line", "1KiB")
	lines := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(lines, s.NumberedLines(5_000, 150), 0o600); err != nil {
		t.Fatal(err)
	}
	const program = `
import json, sys, urllib.error, urllib.request
url, lines = "http://" + sys.argv[1], open(sys.argv[2], "rb").read()
print(urllib.request.urlopen(url, lines).status)
try:
    urllib.request.urlopen(url, b"short\n" + b"x" * 2000 + b"\n")
except urllib.error.HTTPError as e:
    print(e.code, json.load(e)["record"])
`
	out, err := exec.CommandContext(t.Context(), python, "-c", program, s.Process.Listeners[0], lines).CombinedOutput()
	if err != nil || string(out) != "200\n400 2\n" {
		t.Errorf("%v: %s", err, out)
	}
	s.FinishLineMode(testrig.NoDuplicates)
}

// curl sends lines again and again until each request is answered with 200, and linesplit passes
// them to HTTP targets. All of them are killed or stopped in between, and no line is lost.
func TestCurlThroughKills(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	url := "http://" + string(testrig.FreeHostPort(t)) + "/lines"
	s := newSyncedStage(t, url)
	store := testrig.NewWebStore(s.Tally)
	var web [2]*testrig.WebTarget
	for i := range web {
		web[i] = testrig.NewWebTarget(t, store, false)
		s.targets = append(s.targets, withOptions{web[i], "linger=5ms&timeout=5s"})
	}
	s.start()
	const requests = 60
	var answered atomic.Int64
	var bodies [requests][]byte
	for i := range bodies {
		bodies[i] = s.NumberedLines(200, 100)
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		rng := rand.New(rand.NewPCG(2, 2))
		for _, body := range bodies {
			for status := ""; status != "200" && t.Context().Err() == nil; {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if rng.IntN(3) == 0 { // curl is killed, perhaps before it has its answer
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(50))*time.Millisecond)
				}
				cmd := exec.CommandContext(ctx, curl, "-s", "-m", "60", "-o", os.DevNull, "-w", "%{http_code}", "--data-binary", "@-", url)
				cmd.Stdin = bytes.NewReader(body)
				out, _ := cmd.Output() // no answer is one more reason to send again
				status = string(out)
				cancel()
			}
			answered.Add(1)
		}
	})
	for i := range 6 {
		before := answered.Load()
		testrig.WaitFor(t, "some answers", func() bool { return answered.Load() >= min(before+5, requests) })
		web[i%2].Stop()
		s.kill()
		s.start()
		web[i%2].Listen()
	}
	sending.Wait()
	s.WaitForAllLines()
	s.waitUntilEmpty()
	s.Terminate(0)
	r := s.Tally.Report(s.Sent)
	t.Log(r)
	if r.Lost > 0 || r.Corrupt+r.Torn > 0 {
		t.Errorf("%s\n%s", r, r.Details())
	}
}
