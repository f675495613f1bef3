package traffic

import "time"

// AccessLog takes a record of each connection that has ended. Log is called from many goroutines at
// once and delays the caller.
type AccessLog interface{ Log(Record) }

// Record describes a connection that has ended.
type Record struct {
	Start            time.Time
	Client, Listener string
	ServerName       string // that the client has asked for by TLS, as it has written it; empty if it has not
	Target           string // empty if none was connected
	BytesIn          int64  // written to the target, less those that a reset discarded
	BytesOut         int64  // written to the client, less those that a reset discarded
	Duration         time.Duration
	Dials            int    // attempts to connect to a target, the successful one included
	End              string // reason why the connection ended; see End
}

// Connection describes an open connection or UDP session.
type Connection struct {
	ID                uint64 // unique among all connections of the relay, and rising
	Client, Listener  string
	Target            string // empty while none is connected
	BytesIn, BytesOut int64  // written to the target and to the client
	Since             time.Time
}
