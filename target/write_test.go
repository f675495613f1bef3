package target

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"
)

// schemes are the stream schemes without TLS.
var schemes = []string{SchemeTCP, SchemeUnix}

// A write that makes no progress calls waiting again and again, and ends with the error that
// waiting returns.
func TestWriteAsksWhileItWaits(t *testing.T) {
	t.Parallel()
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			c, peer := connectPlain(t, scheme, Options{})
			data := pattern(32 << 20)
			var asked []time.Time
			enough := errors.New("enough")
			n, err := c.Write(data, func() error {
				asked = append(asked, time.Now())
				if len(asked) < 6 {
					return nil
				}
				return enough
			})
			if err != enough || n == 0 || n == len(data) {
				t.Fatalf("Write = %d, %v; want a part of the data and the error of waiting", n, err)
			}
			if p := c.Progress(); p.Err != nil || countsKept && p.Written != uint64(n) {
				t.Errorf("%+v after a write of %d bytes that waiting stopped", p, n)
			}
			if d := asked[5].Sub(asked[1]); d > wait/4 || d < 4*Tick/4 {
				t.Errorf("asked four times in %v, want about once in %v", d, Tick)
			}
			got := collect(peer)
			c.Close()
			if k := len(got.all(t, data)); k != n {
				t.Errorf("Write = %d, and the peer received %d", n, k)
			}
		})
	}
}

// A write goes on where it stopped when the peer reads again.
func TestWriteGoesOn(t *testing.T) {
	t.Parallel()
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			c, peer := connectPlain(t, scheme, Options{})
			data := pattern(12 << 20)
			goOn := patient()
			var got *collector
			asked := 0
			n, err := c.Write(data, func() error {
				if asked++; asked == 4 {
					got = collect(peer)
				}
				return goOn()
			})
			if err != nil || n != len(data) {
				t.Fatalf("Write = %d, %v", n, err)
			}
			c.CloseWrite()
			if k := len(got.all(t, data)); k != len(data) {
				t.Errorf("the peer received %d of %d bytes", k, len(data))
			}
		})
	}
}

// Writes of any size, one after the other, form one stream.
func TestWriteSizes(t *testing.T) {
	t.Parallel()
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			c, peer := connectPlain(t, scheme, Options{})
			got := collect(peer)
			var all []byte
			for i := range 200 {
				p := slices.Clone(pattern(i * i))
				all = append(all, p...)
				mustWrite(t, c, p)
				clear(p) // Write must not keep p
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.all(t, all), all) {
				t.Error("not all arrived")
			}
			if p := c.Progress(); p.Written != uint64(len(all)) {
				t.Errorf("Written = %d, want %d", p.Written, len(all))
			}
		})
	}
}

// Write fails at once on a connection that has ended, however often it is called.
func TestWriteAfterTheEnd(t *testing.T) {
	t.Parallel()
	for _, scheme := range schemes {
		c, peer := connectPlain(t, scheme, Options{})
		peer.Close()
		eventually(t, "a write to fail", func() bool {
			_, err := c.Write([]byte("x\n"), patient())
			return err != nil
		})
		first := c.Progress().Err
		if n, err := c.Write([]byte("x\n"), patient()); n != 0 || err == nil || err != first || first == nil {
			t.Errorf("%s: Write = %d, %v; Err = %v", scheme, n, err, first)
		}
	}
}

// Abort and Close in the middle of a write leave the peer with a prefix of the data.
func TestAbortAndCloseDuringAWrite(t *testing.T) {
	t.Parallel()
	for _, scheme := range schemes {
		for name, end := range map[string]func(*Conn){"Abort": (*Conn).Abort, "Close": (*Conn).Close} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				t.Parallel()
				c, peer := connectPlain(t, scheme, Options{})
				data := pattern(32 << 20)
				blocked := make(chan struct{}, 1)
				go func() {
					<-blocked
					end(c)
				}()
				n, err := c.Write(data, func() error {
					select {
					case blocked <- struct{}{}:
					default:
					}
					return nil
				})
				if err == nil || n == len(data) {
					t.Fatalf("Write = %d, %v on a connection that was closed meanwhile", n, err)
				}
				end(c) // a second call does no harm
				got := collect(peer)
				if k := len(got.all(t, data)); k > n {
					t.Errorf("Write = %d, and the peer received %d", n, k)
				}
				if clean := got.err == nil; clean && scheme == SchemeTCP && name == "Abort" {
					t.Error("the peer saw a clean end after Abort")
				}
			})
		}
	}
}
