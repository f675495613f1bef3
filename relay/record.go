package relay

import "linesplit/relay/internal/traffic"

// AccessLog takes a record of each connection that has ended.
type AccessLog = traffic.AccessLog

// Record is one connection, at its end.
type Record = traffic.Record
