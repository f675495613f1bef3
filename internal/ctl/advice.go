package ctl

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"syscall"

	"linesplit/tlsconf"
)

// maxStranger is how much is read of an answer that is not linesplit's, in bytes.
const maxStranger = 4 << 10

// advise adds to the error of a request what its user can do about it.
func advise(err error) error {
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: nothing listens there: linesplit has an admin listener only where its -admin says, "+
			"and -admin of this command must say the same", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the socket is for its owner and its group: run this as one of them", err)
	case plain || errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w: what listens there does not speak TLS: leave tls:// out of -admin", err)
	}
	return tlsconf.Advise(err, "-tls")
}

// adviceOn returns advice about an answer that is not linesplit's API.
func adviceOn(body []byte) string {
	if bytes.HasPrefix(body, []byte("Client sent an HTTP request to an HTTPS server")) {
		return "what listens there speaks TLS: write tls:// before the address in -admin"
	}
	return "that is not linesplit's API; is it another program's address, or an older linesplit?"
}
