// Package relp reads and writes RELP, the Reliable Event Logging Protocol of rsyslog, for clients
// and for servers. It has neither sockets nor goroutines.
//
// A client opens a session with an [Offer], which the server accepts in its [Response]. After that
// each line is a command of its own, and the server responds to each command under its transaction
// number:
//
//	client                                server
//	1 open 58 relp_version=0␊…        ──▶
//	                                  ◀── 1 rsp 54 200 OK␊relp_version=0␊…
//	2 syslog 5 hello                  ──▶
//	                                  ◀── 2 rsp 6 200 OK
//	3 close 0                         ──▶
//	                                  ◀── 3 rsp 0
//	                                  ◀── 0 serverclose 0
//
// The specification is https://www.rsyslog.com/doc/relp.html. This package is as strict as librelp,
// on which rsyslog is built, where the specification leaves room.
package relp

// The commands. ServerClose is a hint: the server sends it with the number 0 before it closes the
// connection, and the client does not respond.
const (
	Open        = "open"
	Syslog      = "syslog"
	Close       = "close"
	Respond     = "rsp"
	ServerClose = "serverclose"
)
