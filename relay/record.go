package relay

import "linesplit/relay/internal/traffic"

// AccessLog takes a record of each connection that has ended. Log is called from many goroutines at
// once and delays the caller.
type AccessLog = traffic.AccessLog

// Record describes a connection that has ended.
type Record = traffic.Record
