package tlsconf

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A peer that does not read what TLS answers blocked the Read that answered for ever.
func TestLimitedWriteThatIsNotReadEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		w := Watch(near)
		w.LimitWrites(time.Second)
		begin := time.Now()
		if n, err := w.Write([]byte("answer")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %d, %v", n, err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("the write took %v", took)
		}
		go far.Write([]byte("more"))
		if n, err := w.Read(make([]byte, 8)); n != 0 || !errors.Is(err, ErrWriteTimeout) {
			t.Errorf("Read = %d, %v after the stream was broken", n, err)
		}
		if _, err := w.Write([]byte("answer")); !errors.Is(err, ErrWriteTimeout) {
			t.Errorf("Write = %v after the stream was broken", err)
		}
		far.Close()
	})
}

func TestLimitOfWritesIsForEachWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		w := Watch(near)
		w.LimitWrites(time.Second)
		w.SetDeadline(time.Unix(1, 0)) // as for a read that is to end
		for range 3 {
			time.Sleep(time.Minute)
			go io.ReadFull(far, make([]byte, 6))
			if _, err := w.Write([]byte("answer")); err != nil {
				t.Error(err)
			}
		}
	})
}
