// Package hostport splits addresses of the form HOST:PORT. Its errors name the right form of the
// address that was written.
package hostport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Split splits an address into host and port, as net.SplitHostPort does. It judges neither, except
// that there must be a port.
func Split(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fault(address)
	}
	if port == "" {
		return "", "", fmt.Errorf("no port: write %s", net.JoinHostPort(host, "PORT"))
	}
	return host, port, nil
}

// fault returns the error for an address that cannot be split.
func fault(address string) error {
	inside, behind, bracketed := strings.Cut(strings.TrimPrefix(address, "["), "]")
	switch {
	case address == "":
		return errors.New("no address: write HOST:PORT")
	case strings.ContainsAny(address, " \t;"):
		return errors.New("not one address: separate several with commas: write HOST:PORT,HOST:PORT")
	case isPort(address):
		return fmt.Errorf("a port alone: write :%s or HOST:%s", address, address)
	case bracketed && behind == "":
		return fmt.Errorf("no port: write [%s]:PORT", inside)
	case bracketed && isPort(behind):
		return fmt.Errorf("no colon before the port: write [%s]:%s", inside, behind)
	case !strings.Contains(address, ":"):
		return fmt.Errorf("no port: write %s:PORT", address)
	}
	if i := strings.LastIndexByte(address, ':'); isIPv6(address[:i]) && isPort(address[i+1:]) {
		return fmt.Errorf("an IPv6 address needs brackets: write [%s]:%s", address[:i], address[i+1:])
	}
	if isIPv6(address) {
		return fmt.Errorf("an IPv6 address needs brackets, and a port behind them: write [%s]:PORT", address)
	}
	return errors.New("not host and port: write HOST:PORT, such as 10.0.0.1:9000 or [2001:db8::1]:9000")
}

func isIPv6(text string) bool {
	ip, err := netip.ParseAddr(text)
	return err == nil && ip.Is6()
}

// isPort reports whether text is the number of a port.
func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}
