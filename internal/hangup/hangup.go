// Package hangup catches SIGHUP, the request to reload, from the initialization of the program on.
// It imports next to nothing, so that the Go linker initializes it before the other packages: a
// hangup that comes before they are initialized, or before the configuration is read, would
// otherwise end the process.
package hangup

import (
	"os"
	"os/signal"
	"syscall"
)

// caught holds one hangup until a reload begins; further ones add nothing to it.
var caught = make(chan os.Signal, 1)

func init() { signal.Notify(caught, syscall.SIGHUP) }

// Caught returns the hangups since the start of the program, several unread ones as one.
func Caught() <-chan os.Signal { return caught }

// Release gives SIGHUP back its default action, for commands that do not reload: they end when
// their terminal does. A hangup that was caught before takes effect now.
func Release() {
	signal.Stop(caught)
	select {
	case hangup := <-caught:
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Signal(hangup) // where it cannot be sent, none can have come
		}
	default:
	}
}
