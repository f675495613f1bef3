package traffic

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

// Connection is a client that is there now, or a session of datagrams.
type Connection struct {
	ID                uint64 // its own among all that the Relay has ever had; later ones have higher ones
	Client, Listener  string
	Target            string // empty while none is connected
	BytesIn, BytesOut int64  // as in Record
	Since             time.Time
}
