package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"linesplit/internal/stranger"
)

// Advise adds to an error of the dialling side which setting can mend it, if there is one. prefix
// begins the names of the settings: with -tls-target they are -tls-target-ca, -tls-target-cert,
// -tls-target-key and -tls-target-server-name.
func Advise(err error, prefix string) error {
	if advice := adviceOn(err, prefix); advice != "" {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

// AdviseHandshake is Advise for an error of a handshake, which may have failed because the peer
// does not speak TLS. It quotes the first bytes of such a peer.
func AdviseHandshake(err error, prefix string) error {
	const plain = "if it speaks plain text, write tcp:// in place of tls://"
	header, strange := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case strange && stranger.Hint(header.RecordHeader[:]) == "":
		return fmt.Errorf("%w: %s", stranger.Explain(err), plain)
	case strange:
		return stranger.Explain(err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("the peer has ended the connection: %w: %s", err, plain)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer: %w: %s", err, plain)
	}
	return Advise(err, prefix)
}

// ListenerAdvice returns advice on an error of a handshake on the accepting side, or "".
func ListenerAdvice(err error) string {
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return "the sender does not speak TLS: give it a tcp:// listener, or switch TLS on there"
	}
	if _, untrusted := errors.AsType[x509.UnknownAuthorityError](err); untrusted {
		return "the certificate that the client shows is of no authority in -tls-client-ca"
	}
	switch {
	case strings.Contains(err.Error(), "client didn't provide a certificate"):
		return "-tls-client-ca demands a certificate of every client: give the client one"
	case strings.Contains(remoteAlert(err), "certificate"):
		return "the client does not accept the certificate of -tls-cert: let it trust the authority of that, " +
			"connect by a name that is in it, and put the issuers between them into -tls-cert"
	}
	return ""
}

// HandshakeFault returns the kind of an error of a handshake on the accepting side, such as
// "timeout". There are few kinds, so that a log can limit the rate of each separately.
func HandshakeFault(err error) string {
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return "no TLS"
	}
	if _, untrusted := errors.AsType[x509.UnknownAuthorityError](err); untrusted {
		return "untrusted certificate"
	}
	if _, unverified := errors.AsType[*tls.CertificateVerificationError](err); unverified {
		return "invalid certificate"
	}
	if _, revoked := errors.AsType[revocationError](err); revoked {
		return "revocation"
	}
	alert := remoteAlert(err)
	switch {
	case strings.Contains(err.Error(), "client didn't provide a certificate"):
		return "no certificate"
	case strings.Contains(alert, "certificate"):
		return "our certificate refused"
	case alert != "":
		return "refused by the client"
	case errors.Is(err, errDisplaced):
		return "displaced"
	case errors.Is(err, errNoPlace):
		return "no place"
	case errors.Is(err, errTooMuch):
		return "too much"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case strings.Contains(err.Error(), "unsupported versions"):
		return "version"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return "ended"
	}
	return "other"
}

// adviceOn returns the advice of Advise, or "".
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

// nameOf returns a host name of the certificate, or words for it if none is plain.
func nameOf(cert *x509.Certificate) string {
	for _, name := range cert.DNSNames {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == "" {
			return name
		}
	}
	return "its name"
}

// remoteAlert returns the text of an alert that the peer has sent, or "".
func remoteAlert(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return op.Err.Error()
	}
	return ""
}
