//go:build unix && !linux

package clienthello

// endsHere reports whether the peer has ended the stream. On these systems the only sign of an end
// is a wake-up without another byte. An end that comes together with the last bytes is found at the
// read deadline.
func endsHere(_ int, grown bool) bool { return !grown }

// hungUp reports false: these systems give no sign of the end of a stream before all of its bytes
// are read.
func hungUp(int) bool { return false }
