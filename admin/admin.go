// Package admin is what operators and their machines look at: /metrics for Prometheus, /healthz and /readyz for
// whatever starts and stops processes. It knows nothing of the parts that it speaks of: main hands it functions.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
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
	// Source returns the figures of now. It is called once for each scrape, from any goroutine; nil: no figures.
	Source func() Snapshot
	// Forwarded is Source for connection mode: one of the two is given.
	Forwarded func() Forwarded
	// Ready says whether lines can come in and go out, and if not, why. Called from any goroutine; nil: always.
	Ready func() (ok bool, reason string)
	// Histogram, if any, is served beside those figures. See NewConfirmation and NewConnect.
	Histogram prometheus.Histogram
	// LogDropped returns how many lines of each log nobody has read in time. Called once for each scrape, from any goroutine; nil: none.
	LogDropped func() []Count
	// Version is linesplit's own.
	Version string
	// Logger is told what goes wrong in serving; nil discards.
	Logger *slog.Logger
}

// Server serves /metrics, /healthz and /readyz. Its methods may be called from many goroutines.
type Server struct {
	ready   func() (bool, string)
	log     *slog.Logger
	handler http.Handler
}

// New returns a server that serves nothing yet.
func New(o Options) *Server {
	if o.Source == nil && o.Forwarded == nil {
		o.Source = func() Snapshot { return Snapshot{} }
	}
	if o.Ready == nil {
		o.Ready = func() (bool, string) { return true, "" }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{ready: o.Ready, log: o.Logger}

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics(newRegistry(o)))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	s.handler = mux
	return s
}

// Handler returns what Serve serves, for a server that exists already.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers requests on ln until ctx ends, gives those under way a second to end, and returns nil; or returns
// earlier, with the error that ended it. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // anyone who connects can cause these
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()

	select {
	case err := <-ended:
		return fmt.Errorf("serve admin on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		s.log.Debug("admin requests cut off", "error", errors.Join(err, server.Close()))
	}
	<-ended
	return nil
}

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
