package admin

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"linesplit/internal/loglimit"
)

// Who may do what:
//
//	                            probes,   status page,     connections,  changes,
//	                            metrics   status, targets  configuration profiles
//	authenticated                  ✓            ✓              ✓            ✓
//	others, with a token file      ✓            ✓              –            –
//	  without one, loopback        ✓            ✓              ✓            –
//	  without one, elsewhere       ✓            –              –            –
//
// Authenticated is who shows the token, who shows a certificate of the client CA, and who comes by a Unix socket whose
// file lets only its owner and group connect. A Unix socket that is open to everybody on the machine is as good as
// loopback, and so is an abstract one.

// level is what a request asks for.
type level int

const (
	toRead    level = iota // what goes on, in sum
	toInspect              // who is connected, and how everything is set
	toChange               // and profiles, which cost time and show the insides
)

// trust is what a listener says of everybody who comes by it.
type trust int

const (
	fromAnywhere trust = iota
	fromMachine        // somebody on this machine
	fromOwner          // somebody whom the socket's file lets in
)

type trustKey struct{}

// withTrust puts a listener's trust into the contexts of its requests.
func withTrust(ctx context.Context, t trust) context.Context {
	return context.WithValue(ctx, trustKey{}, t)
}

func requestTrust(r *http.Request) trust {
	t, _ := r.Context().Value(trustKey{}).(trust)
	return t
}

// trustIn looks at what a listener listens on.
func trustIn(ln net.Listener) trust {
	switch a := ln.Addr().(type) {
	case *net.TCPAddr:
		if a.IP.IsLoopback() {
			return fromMachine
		}
	case *net.UnixAddr:
		return trustInFile(a.Name)
	}
	return fromAnywhere
}

func trustInFile(path string) trust {
	const others = 0o007
	info, err := os.Lstat(path) // an abstract socket has no file
	if err == nil && info.Mode().Type() == os.ModeSocket && info.Mode()&others == 0 {
		return fromOwner
	}
	return fromMachine
}

// gate judges requests.
type gate struct {
	token *Token // nil: there is none
	log   *slog.Logger
	wrong loglimit.Limiter // tokens: anybody can show some
}

// check returns nil for a request that may have what it asks for.
func (g *gate) check(r *http.Request, asked level) *problem {
	shown := bearer(r)
	if isOwner(r) || g.token.matches(shown) {
		return nil
	}
	if p := checkHost(r); p != nil {
		return p
	}
	if g.token != nil {
		return g.checkAnonymous(r, asked, shown)
	}
	return checkWithoutToken(requestTrust(r), asked)
}

// isOwner says whether a request is authenticated by the way that it came.
func isOwner(r *http.Request) bool {
	byCertificate := r.TLS != nil && len(r.TLS.VerifiedChains) > 0
	return byCertificate || requestTrust(r) == fromOwner
}

func (g *gate) checkAnonymous(r *http.Request, asked level, shown string) *problem {
	if asked == toRead {
		return nil
	}
	if shown == "" {
		return newProblem(http.StatusUnauthorized, "token-needed", "this needs the token: send it as Authorization: Bearer TOKEN")
	}
	g.wrong.Warn(g.log, "wrong admin token", slog.String("peer", r.RemoteAddr), slog.String("path", r.URL.Path))
	return newProblem(http.StatusUnauthorized, "token-wrong", "the token is not the one in the file that -admin-token-file names")
}

func checkWithoutToken(from trust, asked level) *problem {
	switch {
	case from == fromAnywhere:
		return newProblem(http.StatusForbidden, "no-access", "without a token there are only /metrics, /healthz and /readyz here: "+
			"set -admin-token-file, or -admin to a loopback address, a Unix socket, or tls:// with -admin-tls-client-ca")
	case asked == toChange:
		return newProblem(http.StatusForbidden, "no-access", "this needs authentication, and there is no token: "+
			"set -admin-token-file, or -admin to unix:///PATH?mode=0660 or tls:// with -admin-tls-client-ca")
	}
	return nil
}

// checkHost sees that a browser on this machine has not been led here by a name that somebody else has made point to loopback: to
// the browser a page of that name might read everything that such a name serves. Addresses and localhost cannot be made to.
func checkHost(r *http.Request) *problem {
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() || isLocalName(r.Host) {
		return nil
	}
	return newProblem(http.StatusMisdirectedRequest, "foreign-host",
		"%q is not a name of this listener: ask for localhost or 127.0.0.1, or show the token", r.Host)
}

func isLocalName(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	host = strings.ToLower(host)
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host) != nil
}

// bearer returns the token that a request shows, or nothing.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
