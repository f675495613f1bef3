package traffic

// End is the reason why a connection ended. The names stand in the access log and, for reasons that
// refuse a client, in the metrics.
type End uint32

// The reasons.
const (
	NotEnded         End = iota
	EndClientClosed      // the client ended first, and the target followed
	EndTargetClosed      // the target ended first, and the client followed
	EndClientReset       // the client reset the connection
	EndTargetReset       // the target reset the connection
	EndIdle              // Tuning.IdleTimeout or, for a UDP session, UDPIdleTimeout has passed
	EndClientIdle        // Tuning.ClientIdleTimeout has passed
	EndTargetIdle        // Tuning.TargetIdleTimeout has passed
	EndLinger            // one side had ended, and nothing came from the other for Tuning.LingerTimeout
	EndTargetDown        // the target went down, with Tuning.ResetOnDown
	EndTargetRemoved     // the target was removed, and its connections had no time left
	EndDialFailed        // all dials of targets failed
	EndLimit             // Tuning.MaxConnections, or all targets are at their limit
	EndClientLimit       // Tuning.MaxConnectionsPerClient
	EndRateLimit         // Tuning.RatePerClient
	EndQueueTimeout      // Tuning.QueueTimeout
	EndNoTarget          // no target could be tried
	EndHandshake         // the TLS handshake with the client failed
	EndProbe             // the client ended before the first byte of its TLS handshake
	EndShutdown          // the drain had passed, or the hard end came
	numEnds
)

var endNames = [numEnds]string{
	NotEnded:         "",
	EndClientClosed:  "client-closed",
	EndTargetClosed:  "target-closed",
	EndClientReset:   "client-reset",
	EndTargetReset:   "target-reset",
	EndIdle:          "idle",
	EndClientIdle:    "client-idle",
	EndTargetIdle:    "target-idle",
	EndLinger:        "linger",
	EndTargetDown:    "target-down",
	EndTargetRemoved: "target-removed",
	EndDialFailed:    "dial-failed",
	EndLimit:         "limit",
	EndClientLimit:   "client-limit",
	EndRateLimit:     "rate",
	EndQueueTimeout:  "queue-timeout",
	EndNoTarget:      "no-target",
	EndHandshake:     "handshake",
	EndProbe:         "probe",
	EndShutdown:      "shutdown",
}

// String returns the name, empty for NotEnded.
func (e End) String() string { return endNames[e] }
