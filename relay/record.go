package relay

import "time"

// AccessLog takes a record of each connection that has ended. Log is called from many goroutines at once, and holds them up.
type AccessLog interface{ Log(Record) }

// Record is one connection, at its end.
type Record struct {
	Start            time.Time
	Client, Listener string
	Target           string // empty if none was connected
	BytesIn          int64  // what the target was given
	BytesOut         int64  // what the client was given
	Duration         time.Duration
	Dials            int    // attempts to connect to a target, the successful one included
	End              string // why it ended
}

// end says why a connection ended. Names are for the access log and, of those that refuse a client, for the metrics.
type end uint32

const (
	notEnded     end = iota
	clientClosed     // the client was the first to end, and the target followed
	targetClosed
	clientReset
	targetReset
	idle
	linger     // one side had ended, and the other said nothing any more
	targetDown // and Options.ResetOnDown
	targetRemoved
	dialFailed // targets were tried in vain
	limit
	clientLimit
	rateLimit
	queueTimeout
	noTarget // none was there to be tried
	handshake
	shutdown
	numEnds
)

var endNames = [numEnds]string{"", "client-closed", "target-closed", "client-reset", "target-reset", "idle", "linger", "target-down",
	"target-removed", "dial-failed", "limit", "client-limit", "rate", "queue-timeout", "no-target", "handshake", "shutdown"}

// String returns the name, empty for notEnded.
func (e end) String() string { return endNames[e] }

func (r *Relay) record(rec Record) {
	if r.o.AccessLog != nil {
		r.o.AccessLog.Log(rec)
	}
}
