//go:build !linux

package listen

import "net"

func setReceiveBuffer(socket *net.UDPConn, size int) error { return socket.SetReadBuffer(size) }

// receiveBufferOf is not known here: what was asked for counts as granted.
func receiveBufferOf(*net.UDPConn) int { return receiveBuffer }

// kernelDrops returns false: here the kernel does not count drops by socket.
func kernelDrops(*net.UDPConn) (n uint32, ok bool) { return 0, false }
