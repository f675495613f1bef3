package tlsconf

import "io"

// ReadArrived reads from t, the *tls.Conn over w, as t.Read does, and then on until p is full, as
// far as that needs no wait for the peer: a Read of crypto/tls returns one record, at most 16 KiB,
// of all that have arrived. Bytes may come with an error. It belongs to the goroutine that reads.
func (w *Watched) ReadArrived(t io.Reader, p []byte) (n int, err error) {
	n, err = t.Read(p)
	w.only = true
	defer func() { w.only = false }()
	for err == nil && n < len(p) {
		var k int
		if k, err = t.Read(p[n:]); err == errNotArrived {
			return n, nil
		}
		n += k
	}
	return n, err
}

// notArrived is an error that crypto/tls returns as it is and forgets, as it does with a timeout:
// the Read that follows goes on in mid-record.
type notArrived struct{}

var errNotArrived error = notArrived{}

func (notArrived) Error() string   { return "nothing more has arrived" }
func (notArrived) Timeout() bool   { return true }
func (notArrived) Temporary() bool { return true }

// readArrived reads what has arrived. Where the Read before got less than it had room for, that is
// taken for nothing, which saves a system call for each record of a slow peer.
func (w *Watched) readArrived(p []byte) (int, error) {
	if w.drained {
		return 0, errNotArrived
	}
	n, err := w.now.read(w.Conn, p)
	w.drained = n < len(p)
	return n, err
}
