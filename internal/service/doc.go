// Package service wires a configuration into a running linesplit: it opens the listeners, starts
// line mode or connection mode with health checks and the admin API, applies reloads, and drains
// at the end.
//
// Both modes share everything but the path of the data. Each arrow leads to a goroutine that the
// one on its left starts, stops and waits for; the mode runs in the goroutine of Run:
//
//	Run ─┬─▶ shutdown signals
//	     ├─▶ the log of a drain that goes on
//	     ├─▶ reloads on SIGHUP
//	     ├─▶ the admin server
//	     ├─▶ the service manager's notifications and watchdog
//	     ├─▶ health checks ──▶ one per target
//	     ├─▶ log writers
//	     └── the mode:
//
//	line mode ───────┬─▶ one splitter.Serve per listener ──▶ one goroutine per sender
//	                 └─▶ workerpool.Run ──▶ one worker per connection to a target
//
//	connection mode ─┬─▶ one relay.Serve per listener ──▶ goroutines per connection
//	                 └─▶ one relay.ServePackets per UDP listener
//
// Two contexts end a run. The soft one ends at the first signal or with the input: no new senders
// are accepted, and connected ones get notice. The hard one ends at a second signal or after the
// drain timeout: everything is closed at once, and the run reports what it did not finish.
//
// SIGHUP, which package hangup catches from the start of the program on, leads to reloadOn.
package service
