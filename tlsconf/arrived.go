package tlsconf

import "io"

// ReadArrived reads from t, the *tls.Conn over w, as t.Read does, and then on until p is full, as
// far as that needs no wait for the peer: a Read of crypto/tls returns one record, at most 16 KiB,
// of all that have arrived. Bytes may come with an error. It belongs to the goroutine that reads.
//
// It waits only while TLS has no data that it has not returned. One t.Read may need several reads
// of w, and may have data in hand before the last of them: with TLS 1.2, t reads on when an alert
// begins behind a record. So only the first read of w after t has come to its end may wait.
func (w *Watched) ReadArrived(t io.Reader, p []byte) (n int, err error) {
	w.only = true
	defer func() { w.only = false }()
	for {
		var k int
		k, err = t.Read(p[n:])
		n += k
		switch {
		case err == errNotArrived:
			w.mayWait = true
			if n > 0 {
				return n, nil
			}
		case err != nil || n == len(p):
			return n, err
		}
	}
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
func (w *Watched) readArrived(p []byte) (n int, err error) {
	switch {
	case w.mayWait:
		n, err = w.Conn.Read(p)
		w.mayWait = n == 0
	case w.drained:
		return 0, errNotArrived
	default:
		n, err = w.now.read(w.Conn, p)
	}
	w.drained = n < len(p)
	return n, err
}
