package service

import (
	"linesplit/internal/config"
	"linesplit/listen"
)

// spareDescriptors are reserved for listeners, the admin listener's clients, files, and connections
// that workers are leaving.
const spareDescriptors = 64

// maxSenders limits the senders in line mode so that enough descriptors are left for the targets:
// two for each worker, which has two connections while it changes targets. 0 means no limit.
func maxSenders(cfg config.Config, targets int) int {
	limit := descriptorLimit()
	if cfg.MaxConnections > 0 || limit == 0 {
		return cfg.MaxConnections
	}
	reserved := 2*targets*cfg.Connections + spareDescriptors + pendingHeaders(cfg)
	return max(1, limit-reserved)
}

// maxClients limits the clients in connection mode, each of which takes two descriptors. A
// sixteenth of all may be pipes. 0 means no limit.
func maxClients(cfg config.Config) int {
	limit := descriptorLimit()
	if cfg.MaxConnections > 0 || limit == 0 {
		return cfg.MaxConnections
	}
	return max(1, (limit-limit/16-spareDescriptors-pendingHeaders(cfg))/2)
}

// pendingHeaders returns the maximum number of connections whose PROXY header has not arrived yet.
func pendingHeaders(cfg config.Config) int {
	if len(cfg.Access.ProxyFrom) == 0 {
		return 0
	}
	return listen.MaxPendingHeaders
}
