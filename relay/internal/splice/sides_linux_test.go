package splice

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

// crypto/tls gives up a close_notify for which the socket has no room within 5 s. The peer, which
// read slowly, took its stream for a truncated one.
func TestCloseNotifyWaitsForRoom(t *testing.T) {
	t.Parallel()
	certs := testcert.New(t, t.TempDir())
	far, near := connected(t, "tcp")
	defer far.Close()
	defer near.Close()
	clientConfig, serverConfig := certs.ClientTLS(), certs.ServerTLS()
	clientConfig.ServerName = "localhost"
	serverConfig.SessionTicketsDisabled = true // they would be read below
	client, server := tls.Client(far, clientConfig), tls.Server(near, serverConfig)
	var shaking sync.WaitGroup
	var clientErr error
	shaking.Go(func() { clientErr = client.Handshake() })
	must(t, server.Handshake())
	shaking.Wait()
	must(t, clientErr)

	filled := fill(t, near)
	side := NewSide(server)
	var closing sync.WaitGroup
	closing.Go(side.CloseWrite)
	time.Sleep(5500 * time.Millisecond) // longer than crypto/tls waits
	got, err := io.Copy(io.Discard, far)
	must(t, err)
	closing.Wait()
	if got <= filled {
		t.Errorf("%d bytes arrived after %d, want a close_notify behind them", got, filled)
	}
}

// An end that cannot be passed on ends when the side is interrupted.
func TestInterruptEndsCloseWrite(t *testing.T) {
	far, near := connected(t, "tcp")
	defer far.Close()
	defer near.Close()
	fill(t, near)
	side := NewSide(tls.Server(near, &tls.Config{}))
	var closing sync.WaitGroup
	closing.Go(side.CloseWrite)
	side.Interrupt()
	closing.Wait()
}

// fill writes until the socket takes not a single byte more, and returns how many it took.
func fill(t testing.TB, nc net.Conn) (n int64) {
	t.Helper()
	for _, size := range []int{64 << 10, 1} { // while there is some room, the kernel may wait for more
		for err := error(nil); err == nil; {
			nc.SetWriteDeadline(time.Now().Add(time.Second / 4))
			var taken int
			taken, err = nc.Write(make([]byte, size))
			n += int64(taken)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
		}
	}
	nc.SetWriteDeadline(time.Time{})
	return n
}
