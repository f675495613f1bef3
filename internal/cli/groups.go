package cli

// Headings in the help of commands, where several of them share one.
const (
	groupConnection = "Connection"
	groupInput      = "Input"
	groupListeners  = "Listeners"
	groupOutput     = "Output"
	groupShutdown   = "Shutdown"
	groupTLS        = "TLS"
)
