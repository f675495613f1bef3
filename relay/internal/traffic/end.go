package traffic

// End says why a connection ended. Names are for the access log and, of those that refuse a client, for the metrics.
type End uint32

// The ends.
const (
	NotEnded        End = iota
	EndClientClosed     // the client was the first to end, and the target followed
	EndTargetClosed
	EndClientReset
	EndTargetReset
	EndIdle
	EndLinger     // one side had ended, and the other said nothing any more
	EndTargetDown // and Tuning.ResetOnDown
	EndTargetRemoved
	EndDialFailed // targets were tried in vain
	EndLimit
	EndClientLimit
	EndRateLimit
	EndQueueTimeout
	EndNoTarget // none was there to be tried
	EndHandshake
	EndShutdown
	numEnds
)

var endNames = [numEnds]string{"", "client-closed", "target-closed", "client-reset", "target-reset", "idle", "linger", "target-down",
	"target-removed", "dial-failed", "limit", "client-limit", "rate", "queue-timeout", "no-target", "handshake", "shutdown"}

// String returns the name, empty for NotEnded.
func (e End) String() string { return endNames[e] }
