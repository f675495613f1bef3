package admin

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Callers share calls, and no caller gets a result that is older than its own call.
func TestSharedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, running atomic.Int64
		s := newShared(func() int64 {
			if running.Add(1) > 1 {
				t.Error("two calls at a time")
			}
			defer running.Add(-1)
			n := calls.Add(1)
			time.Sleep(time.Second)
			return n
		})
		var callers sync.WaitGroup
		get := func(want int64) {
			callers.Go(func() {
				if got := s.get(); got != want {
					t.Errorf("result of call %d, want %d", got, want)
				}
			})
			synctest.Wait()
		}
		get(1)
		time.Sleep(time.Second / 2)
		for range 100 { // while the first call is under way
			get(2)
		}
		time.Sleep(time.Second)
		get(3)
		callers.Wait()
	})
}
