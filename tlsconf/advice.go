package tlsconf

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Advise adds to an error of the dialling side which setting can mend it. prefix begins the names of
// the settings: with -tls-target they are -tls-target-ca, -tls-target-cert, -tls-target-key and
// -tls-target-server-name. Other errors stay as they are.
func Advise(err error, prefix string) error {
	if advice := adviceOn(err, prefix); advice != "" {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

func adviceOn(err error, prefix string) string {
	if _, untrusted := errors.AsType[x509.UnknownAuthorityError](err); untrusted {
		return "if the certificate is the right one, give its authority in " + prefix + "-ca"
	}
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		return "if the certificate is the right one, give " + nameOf(wrong.Certificate) + " in " + prefix + "-server-name"
	}
	alert := remoteAlert(err)
	switch {
	case strings.Contains(alert, "certificate required"):
		return "give a certificate in " + prefix + "-cert and " + prefix + "-key"
	case strings.Contains(alert, "certificate"):
		return "it does not accept the certificate that " + prefix + "-cert names, or the lack of one"
	}
	return ""
}

// nameOf returns a name that a certificate is for.
func nameOf(cert *x509.Certificate) string {
	for _, name := range cert.DNSNames {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == "" {
			return name
		}
	}
	return "its name"
}

// remoteAlert returns the text of an alert that the peer has sent, or nothing.
func remoteAlert(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return op.Err.Error()
	}
	return ""
}
