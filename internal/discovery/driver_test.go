package discovery

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a source that answers what the test says.
type scripted struct {
	mu   sync.Mutex
	a    Answer
	err  error
	hang bool
	at   []time.Time // of the lookups
}

func (s *scripted) lookup(ctx context.Context) (Answer, error) {
	s.mu.Lock()
	s.at = append(s.at, time.Now())
	a, err, hang := s.a, s.err, s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return Answer{}, ctx.Err()
	}
	return a, err
}

func (s *scripted) set(a Answer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.a, s.err = a, err
}

// lookups returns how many there were since the last call.
func (s *scripted) lookups() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.at)
	s.at = nil
	return n
}

// driverRig is a driver in a bubble of synctest.
type driverRig struct {
	*Driver
	src      *scripted
	log      bytes.Buffer
	mu       sync.Mutex
	reported []string
	refuse   error
}

func newDriverRig(t *testing.T) *driverRig {
	r := &driverRig{src: &scripted{}}
	r.Driver = NewDriver(Options{Report: r.report, Logger: slog.New(slog.NewTextHandler(&r.log, nil))})
	r.Driver.open = func(Spec, Options) source { return r.src }
	r.Set([]Spec{mustSpec(t, "dns://a:1")}, "")
	return r
}

func (r *driverRig) report(source string, a Answer, _ time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reported = append(r.reported, source+" "+strings.Join(written(a), " "))
	return r.refuse
}

func (r *driverRig) reports() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.reported
	r.reported = nil
	return all
}

func (r *driverRig) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	return func() { cancel(); running.Wait() }
}

func TestDriverAsksWhenTheAnswerExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDriverRig(t)
		r.src.set(Answer{Targets: addresses("a"), TTL: 20 * time.Second}, nil)
		stop := r.run(t)
		defer stop()
		time.Sleep(10 * time.Minute)
		if n := r.src.lookups(); n < 28 || n > 30 {
			t.Errorf("%d lookups in ten minutes", n)
		}
		if st := r.Status()[0]; st.Answers < 28 || st.Failing || st.LastError != "" || time.Since(st.LastAnswer) > 21*time.Second {
			t.Errorf("%+v", st)
		}
		if got := r.reports()[0]; got != "dns://a:1 tcp://a:1" {
			t.Error(got)
		}
	})
}

// A failing source is asked less and less often, is in the log once, and takes nothing away.
func TestDriverFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDriverRig(t)
		r.src.set(Answer{}, errors.New("SERVFAIL"))
		stop := r.run(t)
		time.Sleep(10 * time.Minute)
		if n := r.src.lookups(); n < 30 || n > 120 {
			t.Errorf("%d lookups in ten minutes", n)
		}
		if st := r.Status()[0]; st.Answers > 0 || !st.Failing || st.LastError != "SERVFAIL" || !st.LastAnswer.IsZero() {
			t.Errorf("%+v", st)
		}
		if got := r.reports(); got != nil {
			t.Errorf("reported: %q", got)
		}
		r.src.set(Answer{Targets: addresses("a")}, nil)
		time.Sleep(30 * time.Second)
		if st := r.Status()[0]; st.Failing || st.LastError != "SERVFAIL" || st.Answers == 0 {
			t.Errorf("%+v", st)
		}
		r.refuse = errEmpty
		r.src.set(Answer{}, nil)
		time.Sleep(3 * time.Minute)
		if st := r.Status()[0]; !st.Failing || !strings.Contains(st.LastError, "the answer is empty") {
			t.Errorf("%+v", st)
		}
		r.refuse = nil
		r.src.set(Answer{Targets: addresses("a"), Missing: errors.New("no AAAA")}, nil)
		time.Sleep(3 * time.Minute)
		if st := r.Status()[0]; !st.Failing || st.LastError != "no AAAA" || time.Since(st.LastAnswer) > time.Minute {
			t.Errorf("%+v", st)
		}
		stop()
		if failed, again := strings.Count(r.log.String(), "source failed"), strings.Count(r.log.String(), "answers again"); failed != 2 || again != 1 {
			t.Errorf("the log:\n%s", &r.log)
		}
	})
}

// A source that hangs is given up, and the end does not wait for it.
func TestDriverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDriverRig(t)
		r.src.hang = true
		stop := r.run(t)
		time.Sleep(lookupTimeout + time.Second)
		if st := r.Status()[0]; !st.Failing || st.Failures != 1 {
			t.Errorf("%+v", st)
		}
		time.Sleep(5 * time.Second) // in the next lookup
		began := time.Now()
		stop()
		if took := time.Since(began); took > 0 {
			t.Errorf("took %v", took)
		}
	})
}

func TestDriverSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDriverRig(t)
		r.src.set(Answer{Targets: addresses("a"), TTL: time.Minute}, nil)
		stop := r.run(t)
		defer stop()
		time.Sleep(time.Second)
		r.reports()
		both := []Spec{mustSpec(t, "dns://b:1"), mustSpec(t, "dns://a:1")}
		r.Set(both, "")
		time.Sleep(time.Second)
		if got := strings.Join(r.reports(), ","); got != "dns://b:1 tcp://a:1" {
			t.Errorf("after one more: %q", got)
		}
		if st := r.Status(); len(st) != 2 || st[0].Source != "dns://b:1" || st[1].Answers != 1 {
			t.Errorf("%+v", st)
		}
		r.Set(both, "udp://10.0.0.1:53") // all are asked anew
		time.Sleep(time.Second)
		if got := r.reports(); len(got) != 2 {
			t.Errorf("after another resolver: %q", got)
		}
		r.Set(both[:1], "udp://10.0.0.1:53")
		time.Sleep(10 * time.Minute)
		for _, got := range r.reports() {
			if got != "dns://b:1 tcp://a:1" {
				t.Errorf("still asked: %q", got)
			}
		}
	})
}

// A change of a file is seen between two lookups.
func TestDriverWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDriverRig(t)
		w := &watched{scripted: r.src}
		r.Driver.open = func(Spec, Options) source { return w }
		r.src.set(Answer{Targets: addresses("a"), TTL: time.Minute}, nil)
		stop := r.run(t)
		defer stop()
		time.Sleep(10*time.Second + time.Millisecond)
		if n := r.src.lookups(); n != 1 {
			t.Errorf("%d lookups", n)
		}
		w.mu.Lock()
		w.change = true
		w.mu.Unlock()
		time.Sleep(watchInterval)
		if n := r.src.lookups(); n != 1 {
			t.Errorf("%d lookups after a change", n)
		}
	})
}

type watched struct {
	*scripted
	change bool
}

func (w *watched) changed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	is := w.change
	w.change = false
	return is
}
