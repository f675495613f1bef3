package splice

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Each flow whose receiver took nothing held a buffer of 32 KiB, whatever their number: the clients
// of a TLS listener that asked for much and read nothing had megabytes for each hundred.
func TestStalledFlowsHoldBoundedBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const flows, roomy = 8, 3
		c := NewCarrier()
		c.room.Store(roomy * largeBuffer)
		var all [flows]Pair
		var carrying sync.WaitGroup
		var receivers []net.Conn
		for i := range all {
			client, near := net.Pipe()
			target, far := net.Pipe()
			from, to := NewSide(near), NewSide(far)
			all[i].Init(c, &from, &to, new(atomic.Uint64), new(atomic.Uint64))
			carrying.Go(func() {
				if err := all[i].In.Carry(); err != nil {
					t.Error(err)
				}
				far.Close()
			})
			carrying.Go(func() {
				client.Write(make([]byte, 1<<20))
				client.Close()
			})
			target.Read(make([]byte, smallBuffer)) // then it takes no more
			receivers = append(receivers, target)
		}
		synctest.Wait()
		large := 0
		for i := range all {
			if len(all[i].In.buf) > smallBuffer {
				large++
			}
		}
		if large != roomy || c.room.Load() != 0 {
			t.Errorf("%d of %d stalled flows hold large buffers, room for %d bytes", large, flows, c.room.Load())
		}
		for _, target := range receivers {
			carrying.Go(func() {
				n := 0
				for b := make([]byte, 1<<20); ; {
					more, err := target.Read(b)
					if n += more; err != nil {
						break
					}
				}
				if n != 1<<20-smallBuffer {
					t.Errorf("%d bytes came", n)
				}
			})
		}
		carrying.Wait()
		if got := c.room.Load(); got != roomy*largeBuffer {
			t.Errorf("at the end room for %d bytes", got)
		}
	})
}
