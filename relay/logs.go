package relay

// FlushLog logs the events that the log has held back to report them in sum. It is called when all
// calls of Serve and ServePackets have returned.
func (r *Relay) FlushLog() {
	r.acceptFailed.Flush()
	r.handshakesFailed.Flush()
	r.clients.FlushLog()
	r.backends.FlushLog()
}
