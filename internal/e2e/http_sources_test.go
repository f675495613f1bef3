//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// poster sends requests with lines to linesplit.
type poster struct {
	t      *testing.T
	url    string
	client *http.Client
}

func newPoster(t *testing.T, url string) *poster {
	p := &poster{t, url, &http.Client{Transport: &http.Transport{TLSClientConfig: testrig.ClientTLS()}, Timeout: time.Minute}}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

// post sends a request. It returns status 0 if there is no answer.
func (p *poster) post(body []byte, header ...string) (status int, text string) {
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		p.t.Error(err)
		return 0, ""
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := p.client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer a.Body.Close()
	all, err := io.ReadAll(a.Body)
	if err != nil {
		return 0, err.Error()
	}
	return a.StatusCode, string(all)
}

// expect sends a request and checks the status of its answer.
func (p *poster) expect(want int, body []byte, header ...string) string {
	p.t.Helper()
	status, text := p.post(body, header...)
	if status != want {
		p.t.Errorf("answered %d, want %d: %s", status, want, text)
	}
	return text
}

// When the answer 200 is there, all groups have all lines.
func TestAnsweredLinesHaveArrived(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"any order":  nil,
		"keys":       {"-key", "field:1"},
		"connection": {"-key", "connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newWebStage(t, 2, false, "linger=5ms&batch-bytes=16KiB")
			other := testrig.NewTally()
			audit := testrig.NewSink(t, other, testrig.SinkOptions{})
			s.Process = s.StartLinesplit(s.targets,
				append(args, "-listen", "http://127.0.0.1:0/in", "-group", "audit="+audit.Target())...)
			s.Baseline = testrig.WaitForUsage(t, s.Process, 3*4).WithRequests(2 * 4)
			tallies := map[string]*testrig.Tally{"main": s.Tally, "audit": other}
			p := newPoster(t, "http://"+s.Process.Listeners[0])
			rng := rand.New(rand.NewPCG(1, 1))
			for range 30 {
				id := s.LastID + 1
				p.expect(200, s.NumberedLines(1+rng.IntN(3000), 100))
				for group, tally := range tallies {
					if !tally.HasAll(testrig.Sent{id: s.Sent[id]}) {
						t.Errorf("group %s has not all lines of request %d", group, id)
					}
				}
			}
			wantConnections(t, s.Stage, "http", 1)
			p.client.CloseIdleConnections()
			s.CheckLeaks()
			m := waitForGroups(t, s.Process, "main", "audit")
			s.Terminate(0)
			for group, tally := range tallies {
				wantGroup(t, m, group, float64(s.Sent.Lines()), 0)
				if r := tally.Report(s.Sent); r.Err() != nil || r.Duplicated > 0 {
					t.Errorf("group %s: %s\n%s", group, r, r.Details())
				}
			}
		})
	}
}

// wantConnections demands that the API lists n connections of senders that wait, which have sent
// all lines of the stage.
func wantConnections(t *testing.T, s *testrig.Stage, scheme string, n int) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + s.Process.Admin + "/api/v1/connections")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var list struct {
		Connections []struct {
			Listener      string `json:"listener"`
			ReceivedLines uint64 `json:"received_lines"`
		} `json:"connections"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	lines := uint64(0)
	for _, c := range list.Connections {
		if !strings.HasPrefix(c.Listener, scheme+"://") {
			t.Errorf("a connection of the listener %s", c.Listener)
		}
		lines += c.ReceivedLines
	}
	if len(list.Connections) != n || lines != uint64(s.Sent.Lines()) {
		t.Errorf("%d connections with %d lines are listed, want %d with %d", len(list.Connections), lines, n, s.Sent.Lines())
	}
}

// What was answered with 200 is in the spool when linesplit is killed, and only that need not be
// sent again.
func TestKilledBetweenAnswers(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"any order": nil, "keys": {"-key", "field:1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := testrig.FreeHostPort(t)
			url := "http://" + string(at) + "/in"
			s := newSyncedStage(t, url, args...)
			a, _ := s.StartTwoSinks()
			s.start()
			var stop atomic.Bool
			var again, answered atomic.Int64
			var sending sync.WaitGroup
			var mu sync.Mutex // guards Sent
			for range 4 {
				sending.Go(func() {
					p := newPoster(t, url)
					for !stop.Load() {
						mu.Lock()
						lines := s.NumberedLines(200, 100)
						mu.Unlock()
						for {
							status, _ := p.post(lines)
							if status == 200 {
								answered.Add(1)
								break
							}
							again.Add(1)
							time.Sleep(10 * time.Millisecond)
						}
					}
				})
			}
			for i := range 6 {
				if i == 3 {
					a.Pause() // lines that no target has confirmed count, too
				}
				before := answered.Load()
				testrig.WaitFor(t, "some answers", func() bool { return answered.Load() >= before+20 })
				s.kill()
				s.start()
			}
			a.Resume()
			stop.Store(true)
			sending.Wait()
			s.WaitForAllLines()
			s.waitUntilEmpty()
			s.Terminate(0)
			r := s.Tally.Report(s.Sent)
			t.Logf("%d requests answered, %d sent again; %s", answered.Load(), again.Load(), r)
			if r.Lost > 0 || r.Corrupt > s.broken() {
				t.Errorf("%s\n%s", r, r.Details())
			}
		})
	}
}

// Lines that no target takes are not answered for, and their sender is told of it.
func TestRefusedLinesAreNotAnsweredFor(t *testing.T) {
	eachWebKind(t, func(t *testing.T, bulk bool) {
		s := newWebStage(t, 1, bulk, "linger=5ms")
		dead := filepath.Join(t.TempDir(), "dead")
		s.web[0].Refuse(func(line []byte) bool { return bytes.HasPrefix(line, []byte("bad")) })
		s.start("-dead-letter", dead, "-listen", "http://127.0.0.1:0")
		p := newPoster(t, "http://"+s.Process.Listeners[0])
		p.expect(200, s.NumberedLines(100, 64))
		text := p.expect(422, append(s.NumberedLines(100, 64), "bad 1\nbad 2\n"...))
		s.OtherLines = 2
		testrig.ExpectContains(t, text, `"lines":102,"dropped":2,"delivered":"some"`)
		p.expect(200, s.NumberedLines(100, 64))
		p.client.CloseIdleConnections()
		if letters, err := os.ReadFile(dead); err != nil || bytes.Count(letters, []byte("bad ")) != 2 {
			t.Errorf("%v, %q", err, letters)
		}
		s.FinishLineMode(testrig.NoDuplicates)
	})
}

// At SIGTERM, requests are answered once their lines are confirmed, or in the spool.
func TestRequestsAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		paused bool
		spool  bool
		status int
		code   int
	}{"confirmed": {false, false, 200, 0}, "unconfirmed": {true, false, 503, 1}, "spool": {true, true, 200, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpoolStage(t)
			if !tc.spool {
				s.args = nil
			}
			s.args = append(s.args, "-listen", "http://127.0.0.1:0", "-drain-timeout", "3s")
			if tc.paused {
				s.StartSink(testrig.SinkOptions{}).Pause()
			} else {
				s.targets = []testrig.Target{withOptions{testrig.NewWebTarget(t, testrig.NewWebStore(s.Tally), false), "linger=1s"}}
			}
			s.start()
			p := newPoster(t, "http://"+s.Process.Listeners[0])
			done := make(chan int)
			go func() {
				status, _ := p.post(testrig.Records(1, 1000, 100))
				done <- status
			}()
			s.waitUntilReceived(1000)
			s.Process.Signal(syscall.SIGTERM)
			if status := <-done; status != tc.status {
				t.Errorf("answered %d, want %d", status, tc.status)
			}
			if code := s.Process.Wait(); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if status, _ := p.post(nil); status != 0 {
				t.Errorf("answered %d after the end", status)
			}
		})
	}
}

// curl gets on with a listener: compressed bodies, a large body with Expect, a token, https.
func TestCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("open-sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newWebStage(t, 1, false, "linger=5ms")
	s.start("-listen", "https://127.0.0.1:0/in?max-request=2MiB&token-file="+token, "-tls-cert", testrig.Certs.ServerCert,
		"-tls-key", testrig.Certs.ServerKey)
	url := "https://" + s.Process.Listeners[0]
	curl := func(want string, body []byte, args ...string) {
		t.Helper()
		args = append([]string{"-sS", "-k", "-o", os.DevNull, "-w", "%{http_code}", "-m", "60", url}, args...)
		cmd := exec.CommandContext(t.Context(), "curl", args...)
		cmd.Stdin = bytes.NewReader(body)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if string(out) != want {
			t.Errorf("%q: answered %s, want %s; %v %s", args, out, want, err, stderr.String())
		}
	}
	file := func(lines []byte) string {
		f := filepath.Join(dir, fmt.Sprint(s.LastID))
		if err := os.WriteFile(f, lines, 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	with := []string{"-H", "Authorization: Bearer open-sesame", "--data-binary", "@-"}
	curl("200", s.NumberedLines(100, 100), with...)
	curl("200", s.NumberedLines(10_000, 150), append(with, "-H", "Expect: 100-continue")...)
	curl("413", testrig.Records(1, 30_000, 100), append(with, "-H", "Expect: 100-continue")...)
	curl("401", testrig.Records(1, 10, 100), "--data-binary", "@-")
	curl("200", s.NumberedLines(1000, 100), append(with, "-X", "PUT", "-H", "Transfer-Encoding: chunked")...)
	curl("200", nil, "--head")
	for name, encoding := range map[string]string{"gzip": "gzip", "zstd": "zstd"} {
		if _, err := exec.LookPath(name); err != nil {
			continue
		}
		f := file(s.NumberedLines(5000, 200))
		if out, err := exec.CommandContext(t.Context(), name, "-q", f).CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
		packed, err := os.ReadFile(f + map[string]string{"gzip": ".gz", "zstd": ".zst"}[name])
		if err != nil {
			t.Fatal(err)
		}
		curl("200", packed, append(with, "-H", "Content-Encoding: "+encoding)...)
		curl("400", packed[:len(packed)/2], append(with, "-H", "Content-Encoding: "+encoding)...)
	}
	m := s.Process.Metrics()
	if ok, bad := m.Sum("linesplit_requests_total", `status="200"`), m.Sum("linesplit_requests_total", `status="401"`); ok != 5 || bad != 1 {
		t.Errorf("%v requests answered with 200, %v with 401", ok, bad)
	}
	s.FinishLineMode(testrig.NoDuplicates)
}
