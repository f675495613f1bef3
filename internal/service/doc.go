// Package service wires a configuration into a running linesplit: it opens the listeners, starts
// line mode or connection mode with health checks and the admin API, applies reloads, and drains
// at the end.
//
// A process has one service, or several that have names. They share the admin server, the log, the
// memory for lines, file descriptors and event loops. Both modes share everything but the path of
// the data. Each arrow leads to a goroutine that the one on its left starts, stops and waits for:
//
//	Run ─┬─▶ shutdown signals
//	     ├─▶ reloads on SIGHUP
//	     ├─▶ the admin server
//	     ├─▶ the service manager's notifications and watchdog
//	     ├─▶ log writers
//	     └─▶ each service ─┬─▶ the end of the service, if a reload removes it
//	                       ├─▶ the log of a drain that goes on
//	                       ├─▶ health checks ──▶ one per target
//	                       ├─▶ the finder ──▶ one per source of targets
//	                       └── the mode, in the goroutine of the service:
//
//	line mode ───────┬─▶ one splitter.Serve per listener ──▶ one goroutine per sender
//	                 └─▶ workerpool.Run ──▶ one worker per connection to a target
//
//	connection mode ─┬─▶ one relay.Serve per listener ──▶ goroutines per connection
//	                 └─▶ one relay.ServePackets per UDP listener
//
// Two contexts end a run, and each service. The soft one ends at the first signal, with the input
// or with the removal of the service: no new senders are accepted, and connected ones get notice.
// The hard one ends at a second signal or after the drain timeout: everything is closed at once,
// and the run reports what it did not finish.
//
// SIGHUP, which package hangup catches from the start of the program on, leads to reloadOn.
package service
