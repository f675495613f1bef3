package admin

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"linesplit/internal/loglimit"
)

// What clients may do:
//
//	                            probes,   status page,     connections,  changes,
//	                            metrics   status, targets  configuration profiles
//	authenticated                  ✓            ✓              ✓            ✓
//	others, with a token file      ✓            ✓              –            –
//	  without one, loopback        ✓            ✓              ✓            –
//	  without one, elsewhere       ✓            –              –            –
//
// A client is authenticated if it sends the token, presents a certificate of the client CA, or
// connects through a Unix socket whose file admits only its owner and group. A Unix socket that
// admits all users of the machine counts as loopback, and so does an abstract one.

// level is the access that a request needs.
type level int

const (
	toRead    level = iota // the state and counts, in sum
	toInspect              // connected clients and settings
	toChange               // changes; profiles too, which cost time and show internals
)

// trust grades the clients of a listener by the access that the listener itself allows.
type trust int

const (
	fromAnywhere trust = iota
	fromMachine        // users of this machine
	fromOwner          // users that the socket's file admits: its owner and group
)

type trustKey struct{}

// withTrust returns a context for the requests of a listener or connection, whose present trust is
// a function's result.
func withTrust(ctx context.Context, present func() trust) context.Context {
	return context.WithValue(ctx, trustKey{}, present)
}

func requestTrust(r *http.Request) trust {
	if present, ok := r.Context().Value(trustKey{}).(func() trust); ok {
		return present()
	}
	return fromAnywhere
}

// identity holds what a request has proved of its client.
type identity int

const (
	anonymous  identity = iota
	wrongToken          // it sent one that is not the token
	guessing            // it sent one that was not compared, since its peer has sent too many wrong ones
	known               // the client is authenticated
)

type identityKey struct{}

// identify wraps the handler of all requests: it finds out once per request whether the client is
// authenticated, and gives other clients less time to take their answer.
func (g *gate) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := g.whoIs(r)
		if who != known {
			// An error means that the writer has no deadlines.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(anonymousWriteTimeout))
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, who)))
	})
}

func (g *gate) whoIs(r *http.Request) identity {
	sent := bearer(r)
	switch {
	case isOwner(r):
		return known
	case sent == "" || g.token == nil:
		return anonymous
	}
	may, is := g.guesses.compare(requestPeer(r), time.Now(), func() bool { return g.token.Matches(sent) })
	switch {
	case is:
		return known
	case may:
		return wrongToken
	}
	return guessing
}

// isAuthenticated returns what identify found.
func isAuthenticated(r *http.Request) bool {
	return requestIdentity(r) == known
}

func requestIdentity(r *http.Request) identity {
	who, _ := r.Context().Value(identityKey{}).(identity)
	return who
}

// trustIn returns a function for the present trust in the clients of ln, by its address. The
// permissions of a socket's file may change while it is served.
func trustIn(ln net.Listener) func() trust {
	switch a := ln.Addr().(type) {
	case *net.TCPAddr:
		if a.IP.IsLoopback() {
			return func() trust { return fromMachine }
		}
	case *net.UnixAddr:
		own, _ := os.Lstat(a.Name) // an abstract socket has no file
		return func() trust { return trustInFile(a.Name, own) }
	}
	return func() trust { return fromAnywhere }
}

// others are the permission bits for users who are neither the owner nor in the group.
const others = 0o007

// trustInFile returns the trust in the clients of a socket by its file now. own is the file as it
// was when the socket was opened.
func trustInFile(path string, own os.FileInfo) trust {
	info, err := os.Lstat(path)
	if err == nil && own != nil && os.SameFile(info, own) && info.Mode().Type() == os.ModeSocket && info.Mode()&others == 0 {
		return fromOwner
	}
	return fromMachine
}

// sinceAccept returns a function for the present trust in a connection that was accepted just now:
// it never exceeds that of now, when its client may have come through permissions that are gone.
func sinceAccept(present func() trust) func() trust {
	accepted := present()
	return func() trust { return min(accepted, present()) }
}

// gate decides which requests are allowed.
type gate struct {
	token   *Token // nil for none
	guesses guesses
	log     *slog.Logger
	wrong   loglimit.Limiter // for wrong tokens, which any client can send
}

// check returns nil if the request has the access that it needs.
func (g *gate) check(r *http.Request, needs level) *problem {
	if isAuthenticated(r) {
		return nil
	}
	if p := checkHost(r); p != nil {
		return p
	}
	if g.token != nil {
		return g.checkAnonymous(r, needs)
	}
	return checkWithoutToken(requestTrust(r), needs)
}

// isOwner reports whether a request is authenticated by its connection: by a client certificate
// or a socket's file.
func isOwner(r *http.Request) bool {
	byCertificate := r.TLS != nil && len(r.TLS.VerifiedChains) > 0
	return byCertificate || requestTrust(r) == fromOwner
}

func (g *gate) checkAnonymous(r *http.Request, needs level) *problem {
	if needs == toRead {
		return nil
	}
	switch requestIdentity(r) {
	case anonymous:
		return newProblem(http.StatusUnauthorized, "token-needed",
			"this needs the token: send it as Authorization: Bearer TOKEN")
	case guessing:
		return newProblem(http.StatusTooManyRequests, "token-guesses",
			"too many wrong tokens came from this address: try again in a second")
	}
	g.wrong.Warn(g.log, "wrong admin token", slog.String("peer", r.RemoteAddr), slog.String("path", r.URL.Path))
	return newProblem(http.StatusUnauthorized, "token-wrong",
		"the token is not the one in the file that -admin-token-file names")
}

func checkWithoutToken(from trust, needs level) *problem {
	switch {
	case from == fromAnywhere:
		return newProblem(http.StatusForbidden, "no-access",
			"without a token this listener serves only /metrics, /healthz and /readyz: set -admin-token-file, "+
				"or -admin to a loopback address, a Unix socket, or tls:// with -admin-tls-client-ca")
	case needs == toChange:
		return newProblem(http.StatusForbidden, "no-access",
			"this needs authentication, and there is no token: set -admin-token-file, "+
				"or -admin to unix:///PATH?mode=0660 or tls:// with -admin-tls-client-ca")
	}
	return nil
}

// checkHost stops DNS rebinding: an attacker's name that resolves to loopback would let the
// attacker's page, in a browser on this machine, read all responses as its own origin. Requests
// to a loopback address must therefore name an address or localhost, which attackers cannot
// redirect.
func checkHost(r *http.Request) *problem {
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() || isLocalName(r.Host) {
		return nil
	}
	return newProblem(http.StatusMisdirectedRequest, "foreign-host",
		"%q is not a name of this listener: use localhost or 127.0.0.1, or send the token", r.Host)
}

// local wraps a handler that everyone may use, from pages of other names excepted; see checkHost.
func (g *gate) local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := checkHost(r); p != nil && !isAuthenticated(r) {
			refuse(w, r, p)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLocalName(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	host = strings.ToLower(host)
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host) != nil
}

// bearer returns the token that a request sends, or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
