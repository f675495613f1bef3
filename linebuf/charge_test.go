package linebuf

import (
	"testing"
	"testing/synctest"
)

func TestChargeTakesRoomAndGivesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(1024)
		p.Put(p.TryGet(1024)) // is free, and makes room
		p.Charge(512)
		if p.TryGet(1024) != nil || p.InUse() != 512 || p.memory.free != 0 {
			t.Errorf("with 512 bytes charged: in use %d, free %d", p.InUse(), p.memory.free)
		}
		got := make(chan *Buffer)
		go func() {
			b, err := p.Get(t.Context(), 1024)
			if err != nil {
				t.Error(err)
			}
			got <- b
		}()
		synctest.Wait()
		p.Charge(-512)
		p.Put(<-got)
		if p.InUse() != 0 {
			t.Errorf("in use %d at the end", p.InUse())
		}
	})
}
