package fanout

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// When everything stops at once, each group has the rest in order: what is in its channel, in its
// list, in the hands of the fan-out, and on the way there.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Name: "main", Required: true, Queue: 1}, Options{Name: "audit", Required: true, Queue: 3})
		o := r.fan.NewOutlet([]Outlet{outletOf{r, 0, func() bool { return false }}, outletOf{r, 1, func() bool { return false }}})
		for b := r.buffer(); ; b = r.buffer() {
			if !o.Offer(b) {
				r.lines <- b
				break
			}
		}
		for range 2 {
			r.lines <- r.buffer()
			synctest.Wait()
		}
		r.hard()
		<-r.ended
		r.fan.TakeRest(r.lines)
		for i, g := range r.fan.Groups() {
			for _, b := range g.Rest() {
				r.note(i, b)
			}
			if want := fmt.Sprint([]int{0, 1, 2, 3, 4}); fmt.Sprint(r.got[i]) != want {
				t.Errorf("%s has %v, want %s", g.Name, r.got[i], want)
			}
			if more := g.Rest(); len(more) > 0 {
				t.Errorf("%s has %d more", g.Name, len(more))
			}
		}
		r.check()
	})
	synctest.Test(t, func(t *testing.T) { // in order, nothing is left
		r := newRig(t, Options{Name: "main", Required: true, Queue: 1})
		r.read(0, func() time.Duration { return 0 })
		r.lines <- r.buffer()
		close(r.lines)
		<-r.ended
		r.readers.Wait()
		r.fan.TakeRest(r.lines)
		if n := len(r.fan.Groups()[0].Rest()); n > 0 {
			t.Errorf("%d buffers are left", n)
		}
		r.check()
	})
}
