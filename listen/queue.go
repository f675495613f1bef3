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

// newQueue returns a queue in which size connections may wait for Accept.
func newQueue(addr net.Addr, size int) *queue {
	return &queue{addr: addr, ready: make(chan accepted, size), deadline: newDeadline(), closing: make(chan struct{})}
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
