// Package hostport splits addresses of the form HOST:PORT and judges hosts. Its errors name the
// right form of the address that was written.
package hostport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Split splits an address into host and port, as net.SplitHostPort does. It judges neither, except
// that there must be a port, which does not begin with zeros.
func Split(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fault(address)
	}
	if port == "" {
		return "", "", fmt.Errorf("no port: write %s", net.JoinHostPort(host, "PORT"))
	}
	if short := strings.TrimLeft(port, "0"); short != port && isPort(short) { // it would be another name of the address
		return "", "", fmt.Errorf("a port that begins with 0: write %s", net.JoinHostPort(host, short))
	}
	return host, port, nil
}

// Bounds of names in the domain name system, in bytes (RFC 1035, section 2.3.4).
const (
	maxName  = 253 // without a last dot
	maxLabel = 63
)

// CheckHost returns an error for a host that can be neither an IP address nor a name: names are of
// letters, digits, hyphens and dots (RFC 1123, section 2.1) and of underscores, which are in use. A
// name whose last part is a number is taken for an IPv4 address, as resolvers take it.
func CheckHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	name := strings.TrimSuffix(host, ".")
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	switch {
	case strings.ContainsAny(host, "${}<>"):
		return fmt.Errorf("%q is neither a host name nor an IP address: a variable that was not replaced?", host)
	case len(name) > maxName || slices.ContainsFunc(labels, badLabel):
		return fmt.Errorf("%q is neither a host name nor an IP address", host)
	case strings.Trim(last, "0123456789") == "":
		return fmt.Errorf("%q is no IPv4 address: write four numbers from 0 to 255, such as 127.0.0.1", host)
	}
	return nil
}

// badLabel reports whether a part between dots cannot be one of a name's.
func badLabel(label string) bool {
	return label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' ||
		strings.ContainsFunc(label, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		})
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
