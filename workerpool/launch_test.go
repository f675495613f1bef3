package workerpool

import (
	"testing"

	"linesplit/linebuf"
	"linesplit/target"
)

// crowdPool returns a pool without targets whose workers are handed to launch, and do nothing.
func crowdPool(t *testing.T, launch func(*Pool, *worker)) *Pool {
	p := New(linebuf.NewPool(64<<20), Options{})
	p.startAll(make(chan *linebuf.Buffer), func(w *worker) { launch(p, w) })
	t.Cleanup(func() { p.ended.Store(true) })
	return p
}

// Run waits for workers once there are some. It was told of the first one before that had been
// launched: it could find none, and end the pool, or panic, just as a source found the first
// target.
func TestFirstWorkerIsLaunchedBeforeRunLearnsOfIt(t *testing.T) {
	launched := 0
	p := crowdPool(t, func(p *Pool, _ *worker) {
		launched++
		select {
		case <-p.staffed:
			t.Errorf("worker %d is launched too late", launched)
		default:
		}
	})
	if err := p.Add(target.Address{Scheme: target.SchemeTCP, Host: "192.0.2.1:1"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.staffed:
	default:
		t.Error("Run does not learn of the workers")
	}
	if launched != 4 {
		t.Errorf("%d workers", launched)
	}
}
