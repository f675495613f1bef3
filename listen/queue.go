package listen

import (
	"net"
	"os"
	"sync"
	"time"
)

// queue hands connections from goroutines that have prepared them to Accept.
type queue struct {
	addr     net.Addr
	places   *places // of connections that may still come
	ready    chan accepted
	deadline *deadline
	closing  chan struct{}

	mu     sync.Mutex // guards the field below, and offers
	closed bool
}

type accepted struct {
	conn net.Conn
	err  error
}

// newQueue returns a queue in which size connections may wait for Accept. They come from places.
func newQueue(addr net.Addr, size int, places *places) *queue {
	return &queue{addr: addr, places: places, ready: make(chan accepted, size), deadline: newDeadline(), closing: make(chan struct{})}
}

// deliver hands a to Accept, for which it waits if the queue is full. It returns false after close.
// It is for queues of size 0.
func (q *queue) deliver(a accepted) bool {
	select {
	case q.ready <- a:
		return true
	case <-q.closing:
		return false
	}
}

// offer puts conn into the queue. It returns false, and the caller keeps conn, if the queue is full
// or closed.
func (q *queue) offer(conn net.Conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	select {
	case q.ready <- accepted{conn: conn}:
		return true
	default:
		return false
	}
}

// Accept waits for the next connection. It returns one that is ready even if the deadline has
// passed.
func (q *queue) Accept() (net.Conn, error) {
	if isClosed(q.closing) {
		return nil, q.acceptError(net.ErrClosed)
	}
	select {
	case a := <-q.ready:
		return a.conn, a.err
	default:
	}
	select {
	case a := <-q.ready:
		return a.conn, a.err
	case <-q.closing:
		return nil, q.acceptError(net.ErrClosed)
	case <-q.deadline.passed():
		return q.acceptLate()
	}
}

// acceptLate waits beyond the deadline for connections whose first bytes are not overdue yet: their
// peers connected in time, as those that wait in a backlog. It does not wait for newer ones.
func (q *queue) acceptLate() (net.Conn, error) {
	const look = 5 * time.Millisecond
	for began := time.Now(); q.places.expects(began); {
		select {
		case a := <-q.ready:
			return a.conn, a.err
		case <-q.closing:
			return nil, q.acceptError(net.ErrClosed)
		case <-time.After(look):
		}
	}
	select {
	case a := <-q.ready: // the last one has come
		return a.conn, a.err
	default:
		return nil, q.acceptError(os.ErrDeadlineExceeded)
	}
}

func (q *queue) acceptError(err error) error {
	return &net.OpError{Op: "accept", Net: q.addr.Network(), Addr: q.addr, Err: err}
}

// SetDeadline sets the deadline of Accept, also of a waiting one.
func (q *queue) SetDeadline(t time.Time) error {
	if isClosed(q.closing) {
		return net.ErrClosed
	}
	q.deadline.set(t)
	return nil
}

// Addr returns the address of the listener.
func (q *queue) Addr() net.Addr { return q.addr }

// close ends a waiting Accept, and returns the connections that have waited for one. Further calls
// do nothing.
func (q *queue) close() (left []net.Conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	close(q.closing)
	q.deadline.set(time.Time{})
	for {
		select {
		case a := <-q.ready:
			if a.conn != nil {
				left = append(left, a.conn)
			}
		default:
			return left
		}
	}
}
