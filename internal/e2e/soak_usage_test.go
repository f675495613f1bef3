//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strings"
	"time"

	"linesplit/internal/testrig"
)

// soakUsage is what linesplit holds at rest. Stage.CheckLeaks compares the descriptors and
// goroutines with those at the start.
type soakUsage struct {
	held        float64 // lines, bytes and connections of any kind
	descriptors int
	goroutines  float64
	threads     float64
	heap        float64 // bytes in use after a garbage collection
	resident    int64   // bytes of memory that belong to no file
}

func (u soakUsage) String() string {
	return fmt.Sprintf("%.0f lines, bytes and connections, %d descriptors, %.0f goroutines, %.0f threads, "+
		"heap of %.0f KiB, %d KiB resident", u.held, u.descriptors, u.goroutines, u.threads, u.heap/1024, u.resident>>10)
}

// atRest are the gauges that are 0 when no client is connected and everything is delivered.
var atRest = []string{ // read-only
	"linesplit_queued_bytes", "linesplit_queued_lines", "linesplit_queue_buffers", "linesplit_retained_bytes",
	"linesplit_retained_lines", "linesplit_memory_bytes", "linesplit_connections", "linesplit_connections_waiting",
	"linesplit_tls_handshakes", "linesplit_tls_handshakes_waiting", "linesplit_accepting_paused",
}

// usage returns the present usage, after a garbage collection.
func (s *soak) usage() (u soakUsage) {
	s.Helper()
	door := door{network: "tcp", address: s.Process.Admin}
	if err := get(door.client(), door.url("/debug/pprof/heap?gc=1"), soakToken); err != nil {
		s.Fatalf("collect garbage: %v", err)
	}
	m := s.Process.Metrics()
	for _, name := range atRest {
		u.held += m.Sum(name)
	}
	if s.mode == "connection" {
		u.held += m.Sum("linesplit_target_connections")
	}
	u.descriptors = testrig.OpenDescriptors(s.Process.PID())
	u.goroutines = m.Sum("go_goroutines")
	u.threads = m.Sum("go_threads")
	u.heap = m.Sum("go_memstats_heap_alloc_bytes")
	u.resident = s.Process.Memory("RssAnon")
	return u
}

// compare waits until linesplit holds no more than after the warm-up, and nothing for its clients.
// A thread or some memory more is no leak: both depend on how much happened at one time. In line
// mode up to soakMemory waits for lines that come later.
func (s *soak) compare(warm soakUsage) {
	s.Helper()
	const (
		moreThreads  = 16
		moreHeap     = soakMemory + 2<<20
		moreResident = 2 * moreHeap
	)
	var now soakUsage
	within := func() bool {
		now = s.usage()
		return now.held == 0 && now.threads <= warm.threads+moreThreads && now.heap <= warm.heap*5/4+moreHeap &&
			(now.resident <= warm.resident*5/4+moreResident || s.race || testrig.Race)
	}
	if !testrig.Poll(testrig.Patience, within) {
		s.Errorf("left behind: %v\nafter the warm-up: %v\n%s", now, warm, s.Process.Metrics().Dump())
	}
	s.print("at rest: %v; after the warm-up: %v", now, warm)
}

// report prints a line of progress, if it is time.
func (s *soak) report() {
	if s.every == 0 || time.Since(s.reported) < s.every {
		return
	}
	s.reported = time.Now()
	m := s.Process.Metrics()
	s.print("%d faults, %s, %.0f descriptors, %.0f goroutines, %.0f threads, %d MiB resident", s.struck,
		s.load.progress(m), m.Sum("process_open_fds"), m.Sum("go_goroutines"), m.Sum("go_threads"),
		s.Process.Memory("RssAnon")>>20)
}

// print writes a line to standard error in the long form, where `go test` shows no log until the
// end.
func (s *soak) print(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if s.every == 0 {
		s.Logf("%v: %s", s.soakPlan, text)
		return
	}
	elapsed := time.Since(s.started).Round(time.Second)
	fmt.Fprintf(os.Stderr, "soak %v, %v: %s\n", s.soakPlan, elapsed, strings.TrimSpace(text))
}
