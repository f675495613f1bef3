// Package admin is what operators and their machines look at and turn: /metrics for Prometheus, /healthz and /readyz for
// whatever starts and stops processes, a JSON API below /api/v1 with its description in openapi.json, a status page, and
// profiles. It knows nothing of the parts that it speaks of: main hands it functions and a Control.
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
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"linesplit/internal/accept"
)

// Bounds of what a client may cost. Nothing that is served here is long, and a scrape that takes longer is of no use.
const (
	readTimeout    = 5 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute // longer than scrape intervals: a connection serves many
	maxHeaderBytes = 16 << 10
	maxScrapes     = 8 // at one time; more get 503
	endTimeout     = time.Second
)

// Options say what to serve. The zero value is valid: no figures but the process's own, and ready at once.
type Options struct {
	// Mode is ModeLine or ModeConnection and decides which metrics there are. Empty means ModeLine.
	Mode string
	// Status returns the present state and counts, from which metrics are written. It is called once per
	// scrape, from any goroutine. nil means that all counts are 0.
	Status func() Status
	// Ready says whether lines can come in and go out, and if not, why. Called from any goroutine; nil: always.
	Ready func() (ok bool, reason string)
	// Histogram, if any, is served beside those figures. See NewConfirmation and NewConnect.
	Histogram prometheus.Histogram
	// Control, if any, is what the API and the status page show and change. nil: there are neither.
	Control Control
	// Token is what a request shows to be allowed everything; nil: see access.go for who may do what then.
	Token *Token
	// Profiling serves profiles at /debug/pprof/, to those who may change things.
	Profiling bool
	// Version is linesplit's own.
	Version string
	// Logger is told what goes wrong in serving; nil discards.
	Logger *slog.Logger
}

// Server serves what its Options say. Its methods may be called from many goroutines.
type Server struct {
	ready   func() (bool, string)
	log     *slog.Logger
	token   *Token
	guarded bool          // serves more than figures and probes
	api     *api          // nil without a Control
	reading time.Duration // what a request may take to be read
	handler http.Handler
}

// New returns a server that serves nothing yet.
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
	s := &Server{ready: o.Ready, log: o.Logger, token: o.Token, guarded: o.Control != nil || o.Profiling, reading: readTimeout}

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics(newRegistry(o)))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	s.handler = mux
	if s.guarded {
		s.handler = s.guard(mux, o)
	}
	return s
}

// guard adds to mux what not everybody may have.
func (s *Server) guard(mux *http.ServeMux, o Options) http.Handler {
	g := &gate{token: o.Token, log: o.Logger}
	if o.Profiling {
		registerProfiling(mux, g)
	}
	if o.Control != nil {
		s.api = newAPI(o, g)
		s.api.register(mux)
		mux.Handle("/", page(g))
	}
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, newProblem(http.StatusForbidden, "cross-origin", "a page of another origin may not change anything here"))
	}))
	return hardened(origins.Handler(mux))
}

// Handler returns what Serve serves, for a server that exists already. To it nobody is authenticated but by the token or
// a client certificate, and the rates of the API stay 0: they and the events come from Serve.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers requests on ln until ctx ends, gives those under way a second to end, and returns nil; or returns
// earlier, with the error that ended it. It closes ln. It may be called once. What those may do who come by ln depends on
// whether that is a loopback address, a Unix socket, or anything else.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	from := trustIn(ln)
	s.warn(ln, from)
	server := s.server(from)
	ctx, cancel := context.WithCancel(ctx)
	var pulse sync.WaitGroup
	defer pulse.Wait()
	defer cancel()
	if s.api != nil {
		pulse.Go(func() { s.api.pulse.run(ctx) })
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()

	select {
	case err := <-ended:
		return fmt.Errorf("serve admin on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, endGrace := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer endGrace()
	if err := server.Shutdown(grace); err != nil {
		s.log.Debug("admin requests cut off", "err", errors.Join(err, server.Close()))
	}
	<-ended
	return nil
}

func (s *Server) server(from trust) *http.Server {
	guests := newCrowd(maxConns)
	return &http.Server{
		Handler:           guests.attend(s.handler),
		ReadHeaderTimeout: s.reading,
		ReadTimeout:       s.reading,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         guests.track,
		ConnContext:       guests.remember,
		BaseContext:       func(net.Listener) context.Context { return withTrust(context.Background(), from) },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // anyone who connects can cause these
	}
}

// warn says what people might not expect of a listener that can be reached from elsewhere.
func (s *Server) warn(ln net.Listener, from trust) {
	switch {
	case !s.guarded || from != fromAnywhere:
	case s.token != nil && !speaksTLS(ln):
		s.log.Warn("the admin token crosses the network unencrypted: better -admin tls://, a Unix socket or a loopback address", "address", ln.Addr())
	case s.token == nil && !speaksTLS(ln):
		s.log.Info("admin serves metrics and probes only: there is no token, and the address is not a loopback one", "address", ln.Addr())
	}
}

// speaksTLS asks by name, which listeners from Listen give as what they were opened by.
func speaksTLS(ln net.Listener) bool { return strings.HasPrefix(accept.Name(ln), "tls://") }

func (s *Server) metrics(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError, // what is known is worth more than a clean failure
		MaxRequestsInFlight: maxScrapes,
	})
}

// healthz says that the process lives. A process that cannot reach its targets lives too: ending it would lose lines.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") }

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if ok, reason := s.ready(); !ok {
		answer(w, http.StatusServiceUnavailable, "not ready: "+reason)
		return
	}
	answer(w, http.StatusOK, "ok")
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}
