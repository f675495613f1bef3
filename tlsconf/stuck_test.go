package tlsconf

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/testcert"
)

// pipeServer is a testServer over pipes, for tests in a bubble of synctest: with real time, an
// honest client on a busy machine would pass for a stuck one.
type pipeServer struct {
	t       *testing.T
	h       *Handshakes
	server  *tls.Config
	client  *tls.Config
	hello   []byte
	errs    chan error // of each handshake
	serving sync.WaitGroup
}

// inBubble calls test in a bubble of synctest.
func inBubble(t *testing.T, test func(h *pipeServer)) {
	certs := testcert.New(t, t.TempDir())
	client := certs.ClientTLS()
	now := time.Now() // the certificates are not valid yet in the bubble
	client.Time = func() time.Time { return now }
	server := mustServer(t, ServerFiles{Cert: certs.ServerCert, Key: certs.ServerKey}).Config()
	hello := clientHello(t, client)
	synctest.Test(t, func(t *testing.T) {
		h := &pipeServer{t: t, h: NewHandshakes(1, nil), server: server, client: client, hello: hello,
			errs: make(chan error, 1000)}
		test(h)
		h.serving.Wait()
		if st := h.h.Stats(); st.Running+st.Waiting != 0 || st.Bytes != 0 {
			t.Errorf("at the end: %+v", st)
		}
	})
}

// connect returns a client's side of a connection.
func (h *pipeServer) connect() net.Conn {
	near, far := net.Pipe()
	h.serving.Go(func() {
		defer far.Close()
		far.SetDeadline(time.Now().Add(patience))
		in := h.h.Watch(far)
		h.errs <- in.Handshake(tls.Server(in, h.server))
	})
	return near
}

// stuck connects a client that sends its ClientHello, and only reads from then on.
func (h *pipeServer) stuck() net.Conn {
	near := h.connect()
	h.serving.Go(func() {
		if _, err := near.Write(h.hello); err == nil {
			io.Copy(io.Discard, near)
		}
	})
	return near
}

// served makes a whole handshake, which must not take long.
func (h *pipeServer) served() {
	h.t.Helper()
	began := time.Now()
	near := h.connect()
	defer near.Close()
	near.SetDeadline(began.Add(patience))
	if err := tls.Client(near, h.client).Handshake(); err != nil {
		h.t.Errorf("an honest client: %v", err)
	}
	if took := time.Since(began); took > displaceAfter+displaceEvery {
		h.t.Errorf("an honest client waited %v", took)
	}
}

// Clients that send a ClientHello and then nothing have to make room for others.
func TestStuckHandshakesMakeRoom(t *testing.T) {
	inBubble(t, func(h *pipeServer) {
		const stuck = 200
		for range stuck {
			h.stuck()
		}
		synctest.Wait()
		if st := h.h.Stats(); st.Running+st.Waiting != stuck || st.Waiting == 0 || st.Bytes > h.h.budget {
			t.Errorf("%+v with a budget of %d", st, h.h.budget)
		}
		h.served()
		if h.h.Stats().Displaced == 0 {
			t.Error("none was displaced")
		}
		if err := <-h.errs; !errors.Is(err, errDisplaced) {
			t.Errorf("the first to end: %v", err)
		}
	})
}

// Clients that send a byte now and then kept their places until the time limit of the handshake,
// and kept out all others: each byte began the wait anew.
func TestTricklingHandshakesMakeRoom(t *testing.T) {
	inBubble(t, func(h *pipeServer) {
		record := append([]byte{22, 3, 3, 64, 0}, make([]byte, 16<<10)...)
		for range 2 * minPlaces {
			near := h.connect()
			h.serving.Go(func() { io.Copy(io.Discard, near) })
			h.serving.Go(func() {
				near.Write(h.hello)
				for i := range record {
					if _, err := near.Write(record[i:][:1]); err != nil {
						return
					}
					time.Sleep(displaceAfter / 2)
				}
			})
		}
		synctest.Wait()
		if h.h.Stats().Waiting == 0 {
			t.Error("there is room for all")
		}
		h.served()
	})
}
