// Package admin serves the admin listener: /metrics for Prometheus, /healthz and /readyz for
// process supervisors, a JSON API under /api/v1 with its description in openapi.json, a status
// page, and profiles. It does not know the parts that it shows and changes: its caller passes
// functions and a Control.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linesplit/internal/accept"
)

// Limits on the cost of a client. All responses are short, and a scrape that takes longer than
// these timeouts is useless.
const (
	readTimeout    = 5 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute // longer than scrape intervals, so that scrapes share a connection
	maxHeaderBytes = 16 << 10
	endTimeout     = time.Second
	// anonymousWriteTimeout replaces writeTimeout for clients that are not authenticated.
	anonymousWriteTimeout = 5 * time.Second
)

// Options configure a Server. The zero value is valid: all counts are 0 and the process is always
// ready.
type Options struct {
	// Mode is ModeLine or ModeConnection and selects the metrics. Empty means ModeLine.
	Mode string
	// Status returns the present state and counts for the metrics. It is called once per scrape,
	// from any goroutine. nil means that all counts are 0.
	Status func() Status
	// Ready reports whether linesplit can receive and deliver, and if not, why. It is called from
	// any goroutine. nil means always ready.
	Ready func() (ok bool, reason string)
	// Histogram, if not nil, is served as well. See NewConfirmation and NewConnect.
	Histogram prometheus.Histogram
	// SpoolSync, if not nil, is served as well: the seconds of syncs of the spool. See
	// NewSpoolSync.
	SpoolSync prometheus.Histogram
	// Control is the run that the API and the status page show and change. nil disables both.
	Control Control
	// Process is the process if its services have names: the API, the page and the metrics show all
	// of them. Mode, Status, Histogram, SpoolSync and Control are not used then.
	Process Process
	// Token authenticates requests. nil means that there is none; access.go lists what is allowed
	// then.
	Token *Token
	// Profiling serves profiles at /debug/pprof/ to authenticated clients.
	Profiling bool
	// Version is linesplit's version.
	Version string
	// Logger gets warnings and the changes made by the API. nil discards them.
	Logger *slog.Logger
}

// Server serves the admin listener. Its methods are safe for concurrent use.
type Server struct {
	ready   func() (bool, string)
	log     *slog.Logger
	token   *Token
	guarded bool // serves more than metrics and probes
	api     *api // nil without a Control
	gate    *gate
	reading time.Duration // limit on reading a request
	ending  time.Duration // limit on requests at the end
	handler http.Handler
	scrapes scrapeLog
}

// New returns a server. It serves nothing until Serve is called.
func New(o Options) *Server {
	if o.Status == nil {
		o.Status = func() Status { return Status{} }
	}
	if o.Ready == nil {
		o.Ready = func() (bool, string) { return true, "" }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		ready: o.Ready, log: o.Logger, token: o.Token, guarded: o.Control != nil || o.Process != nil || o.Profiling, reading: readTimeout, ending: endTimeout,
	}
	s.scrapes.logger = o.Logger

	g := &gate{token: o.Token, log: o.Logger}
	s.gate = g
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", g.local(serveMetrics(newRegistry(o), &s.scrapes)))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /readyz/{service}", readyzOf(o.Process))
	s.handler = g.identify(mux)
	if s.guarded {
		s.handler = g.identify(s.guard(mux, g, o))
	}
	return s
}

// guard adds the handlers that check access: profiles, the API and the status page.
func (s *Server) guard(mux *http.ServeMux, g *gate, o Options) http.Handler {
	if o.Profiling {
		registerProfiling(mux, g)
	}
	if o.Control != nil || o.Process != nil {
		s.api = newAPI(o, g)
		s.api.register(mux)
		mux.Handle("/", page(g))
	}
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, newProblem(http.StatusForbidden, "cross-origin",
			"pages of other origins cannot change anything here"))
	}))
	return withSecurityHeaders(origins.Handler(mux))
}

// Handler returns the handler that Serve uses, for a caller with a server of its own. It
// authenticates clients by the token or a client certificate only, and all rates of the API stay
// 0: the samples for rates and events are taken by Serve.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers requests on ln until ctx ends, gives requests under way a second to end, and
// returns nil. If serving fails it returns the error at once. It closes ln. It may be called
// once. What clients may do depends on whether ln is a loopback address, a Unix socket, or
// anything else; see access.go.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	from := trustIn(ln)
	s.warn(ln, from())
	server := s.server(from)
	ctx, cancel := context.WithCancel(ctx)
	var sampling sync.WaitGroup
	defer sampling.Wait()
	defer cancel()
	if s.api != nil {
		sampling.Go(func() { s.api.sampler.run(ctx) })
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()

	select {
	case err := <-ended:
		return fmt.Errorf("serve admin on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, endGrace := context.WithTimeout(context.WithoutCancel(ctx), s.ending)
	defer endGrace()
	if err := server.Shutdown(grace); err != nil {
		s.log.Debug("admin requests cut off", "err", errors.Join(err, server.Close()))
	}
	<-ended
	s.flushLog()
	return nil
}

// flushLog logs what the log has held back to report it in sum.
func (s *Server) flushLog() {
	s.scrapes.limiter.Flush()
	s.gate.wrong.Flush()
}

func (s *Server) server(from func() trust) *http.Server {
	limiter := newConnLimiter(MaxConns)
	return &http.Server{
		Handler:           limiter.countRequests(s.handler),
		ReadHeaderTimeout: s.reading,
		ReadTimeout:       s.reading,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         limiter.connState,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return limiter.connContext(withTrust(ctx, sinceAccept(from)), conn)
		},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // any client can cause these
	}
}

// warn logs what operators may not expect of a listener that other machines can reach.
func (s *Server) warn(ln net.Listener, from trust) {
	switch {
	case !s.guarded || from != fromAnywhere:
	case s.token != nil && !speaksTLS(ln):
		s.log.Warn(
			"the admin token crosses the network unencrypted: better -admin tls://, a Unix socket or a loopback address",
			"address", ln.Addr())
	case s.token == nil && !speaksTLS(ln):
		s.log.Info("admin serves metrics and probes only: there is no token, and the address is not a loopback one",
			"address", ln.Addr())
	}
}

// speaksTLS reports whether ln speaks TLS, by its name: a listener from Listen is named by its
// address with the scheme.
func speaksTLS(ln net.Listener) bool { return strings.HasPrefix(accept.Name(ln), "tls://") }

// healthz reports that the process is alive. It stays healthy while no target is reachable:
// ending the process would lose lines.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") }

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if ok, reason := s.ready(); !ok {
		writeText(w, http.StatusServiceUnavailable, "not ready: "+reason)
		return
	}
	writeText(w, http.StatusOK, "ok")
}

// readyzOf reports whether one of several services is ready. p is nil if there is only one.
func readyzOf(p Process) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := findService(p, r.PathValue("service"))
		if err != nil {
			writeText(w, http.StatusNotFound, err.Error())
			return
		}
		if status := s.Control.Status(); !status.Ready {
			writeText(w, http.StatusServiceUnavailable, "not ready: "+status.Reason)
			return
		}
		writeText(w, http.StatusOK, "ok")
	}
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}
