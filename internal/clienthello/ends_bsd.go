//go:build unix && !linux

package clienthello

// endsHere reports whether the peer has ended the stream. Here the only sign of it is that the
// waiting ended without another byte. An end that comes together with the last bytes is found out
// at the deadline.
func endsHere(_ int, grown bool) bool { return !grown }

// hungUp reports whether the peer has ended the stream, which may have unread bytes. Here there is
// no sign of it before these are read.
func hungUp(int) bool { return false }
