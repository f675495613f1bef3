package loop

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Tasks of one goroutine run in order, and none is lost while loops fall asleep and end.
func TestPostsArriveInOrder(t *testing.T) {
	g := start(t, 2)
	const posters, each = 8, 2000
	var posting sync.WaitGroup
	var ran atomic.Int64
	for i := range posters {
		l := g.Loops()[i%2]
		posting.Go(func() {
			last := -1
			for n := range each {
				l.Post(func() {
					if n != last+1 {
						t.Errorf("task %d ran after %d", n, last)
					}
					last = n
					ran.Add(1)
				})
				if n%100 == 0 {
					time.Sleep(time.Duration(n%700) * 10 * time.Microsecond) // the loop falls asleep, or is about to
				}
			}
		})
	}
	posting.Wait()
	eventually(t, "all tasks run", func() bool { return ran.Load() == posters*each })
}

// Posting while the loop ends neither loses a task that was taken nor touches a closed descriptor.
func TestPostDuringShutdown(t *testing.T) {
	for range 50 {
		g, err := New(2)
		must(t, err)
		var taken, ran atomic.Int64
		var posting sync.WaitGroup
		for i := range 4 {
			posting.Go(func() {
				for g.Loops()[i%2].Post(func() { ran.Add(1) }) {
					taken.Add(1)
				}
			})
		}
		g.Shutdown()
		posting.Wait()
		if taken.Load() != ran.Load() {
			t.Fatalf("%d tasks were taken, %d ran", taken.Load(), ran.Load())
		}
	}
}

// One write to the eventfd wakes a loop, however many tasks are posted; an awake loop needs none.
func TestOneWakeUpForManyPosts(t *testing.T) {
	var p poller
	must(t, p.open())
	defer p.close()
	l := &Loop{poller: p}
	writes := func() uint64 {
		var b [8]byte
		if _, err := Read(p.wakefd, b[:]); err == unix.EAGAIN {
			return 0
		}
		return binary.NativeEndian.Uint64(b[:])
	}
	l.Post(func() {})
	if n := writes(); n != 0 {
		t.Errorf("%d wake-ups of a loop that is awake", n)
	}
	if l.inbox.sleep() {
		t.Error("the loop sleeps although it has tasks")
	}
	l.runPosted(l.inbox.take())
	if !l.inbox.sleep() {
		t.Error("the loop does not sleep although it has no tasks")
	}
	for range 5 {
		l.Post(func() {})
	}
	if n := writes(); n != 1 {
		t.Errorf("%d wake-ups for five tasks, want 1", n)
	}
}

func TestTasksAreReused(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	done := make(chan struct{}, 1)
	task := &Task{Do: func() { done <- struct{}{} }}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const posts = 1000
	for range posts {
		l.PostTask(task)
		<-done
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > posts/10 {
		t.Errorf("%d allocations in %d posts", n, posts)
	}
}

// A task that posts itself does not keep handlers from running.
func TestPostFromATask(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	near, far := pair(t)
	defer Close(far)
	stop := make(chan struct{})
	stopped := false
	h := adopt(t, l, near, func(h *handlerFunc, l *Loop, ev Events) {
		if _, err := h.fd.Read(l.Scratch()); err == nil {
			stopped = true
			h.fd.Close()
			close(stop)
		}
	})
	var again func()
	again = func() {
		if !stopped {
			l.Post(again)
		}
	}
	l.Post(again)
	_, err := Write(far, []byte("x"))
	must(t, err)
	<-stop
	on(t, l, h.fd.Close)
}
