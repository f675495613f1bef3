package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"linesplit/internal/simulate/tally"
)

// Limits of the control server. A request to crash a sink takes as long as its stall.
const (
	maxBody         = 64 << 10
	maxHeader       = 16 << 10
	requestTimeout  = 5 * time.Second
	answerTimeout   = 30 * time.Second
	idleTimeout     = time.Minute
	maxStall        = 10 * time.Second
	endTimeout      = time.Second
	defaultStall    = 100 * time.Millisecond
	defaultPatience = 5 * time.Second

	maxSenders = 100 // in the report of /status
)

// Control controls sinks over HTTP.
//
//	GET   /status       what the sinks have read, and the report of the tally
//	GET   /behaviour    the behaviours, as a list
//	PUT   /behaviour    replace the behaviour; fields left out are as in the zero Behaviour
//	PATCH /behaviour    change the behaviour; fields left out stay as they are
//	POST  /pause, /resume, /reset, /exit, /restart, /shutdown?patience=5s,
//	      /crash?stall=100ms, /close-unread?stall=100ms
//
// With ?sink=2 a request is only for the second sink. Answers are JSON. If a request fails, the
// answer contains the error, and nothing has changed except what the error names.
type Control struct {
	sinks []*Sink      // not owned
	tally *tally.Tally // may be nil

	mu sync.Mutex // serializes changes of behaviour
}

// NewControl returns a control of sinks. t may be nil.
func NewControl(t *tally.Tally, sinks ...*Sink) *Control { return &Control{sinks: sinks, tally: t} }

// Serve answers requests until ctx ends, and closes ln. It does not authenticate: every program
// that can connect to ln can control the sinks.
func (c *Control) Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           c.Handler(),
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // every client can cause these errors
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve control on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if server.Shutdown(grace) != nil {
		server.Close()
	}
	<-ended
	return nil
}

// Handler answers requests. It refuses cross-origin requests of browsers.
func (c *Control) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", c.status)
	mux.HandleFunc("GET /behaviour", c.behaviour)
	mux.HandleFunc("PUT /behaviour", func(w http.ResponseWriter, r *http.Request) {
		c.behave(w, r, func(*Sink) Behaviour { return Behaviour{} })
	})
	mux.HandleFunc("PATCH /behaviour", func(w http.ResponseWriter, r *http.Request) {
		c.behave(w, r, (*Sink).Behaviour)
	})
	for path, do := range orders {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { c.order(w, r, do) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Errorf("%s %s: known are GET /status, GET, PUT and PATCH /behaviour, "+
			"and POST /pause, /resume, /reset, /exit, /crash, /close-unread, /shutdown and /restart",
			r.Method, r.URL.Path))
	})
	return http.MaxBytesHandler(http.NewCrossOriginProtection().Handler(mux), maxBody)
}

// order is an action on one sink. Its answer may be nil.
type order func(s *Sink, r *http.Request) (answer any, err error)

// orders holds the actions by path.
var orders = map[string]order{ // read-only
	"/pause":        func(s *Sink, _ *http.Request) (any, error) { s.Pause(); return nil, nil },
	"/resume":       func(s *Sink, _ *http.Request) (any, error) { s.Resume(); return nil, nil },
	"/reset":        func(s *Sink, _ *http.Request) (any, error) { s.ResetConnections(); return nil, nil },
	"/exit":         func(s *Sink, _ *http.Request) (any, error) { s.Exit(); return nil, nil },
	"/restart":      func(s *Sink, _ *http.Request) (any, error) { return nil, s.Restart() },
	"/crash":        endUnread((*Sink).Crash),
	"/close-unread": endUnread((*Sink).CloseUnread),
	"/shutdown": func(s *Sink, r *http.Request) (any, error) {
		patience, err := duration(r, "patience", defaultPatience)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		return nil, s.Shutdown(ctx)
	},
}

// endUnread returns an order that ends a sink after a stall, with data unread.
func endUnread(end func(*Sink, time.Duration) (unread int)) order {
	return func(s *Sink, r *http.Request) (any, error) {
		stall, err := duration(r, "stall", defaultStall)
		if err != nil {
			return nil, err
		}
		return map[string]int{"unread_bytes": end(s, stall)}, nil
	}
}

// order carries out an order on all selected sinks at the same time, and answers when all are
// done.
func (c *Control) order(w http.ResponseWriter, r *http.Request, do order) {
	sinks, err := c.selected(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	answers := make([]any, len(sinks))
	errs := make([]error, len(sinks))
	var at sync.WaitGroup
	for i, s := range sinks {
		at.Go(func() { answers[i], errs[i] = do(s, r) })
	}
	at.Wait()
	if err := errors.Join(errs...); err != nil {
		fail(w, codeOf(err), err)
		return
	}
	if answers[0] == nil {
		answers = nil
	}
	reply(w, http.StatusOK, struct {
		Done    bool  `json:"done"`
		Answers []any `json:"answers,omitempty"` // by sink
	}{true, answers})
}

// badRequest is an error in the request.
type badRequest struct{ error }

func codeOf(err error) int {
	if _, bad := errors.AsType[badRequest](err); bad {
		return http.StatusBadRequest
	}
	return http.StatusConflict
}

// selected returns the sinks that a request is for.
func (c *Control) selected(r *http.Request) ([]*Sink, error) {
	text := r.URL.Query().Get("sink")
	if text == "" {
		return c.sinks, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > len(c.sinks) {
		return nil, fmt.Errorf("sink %q: want a number from 1 to %d", text, len(c.sinks))
	}
	return c.sinks[n-1 : n], nil
}

// duration returns the duration in a parameter of the request, or otherwise if it is missing.
func duration(r *http.Request, name string, otherwise time.Duration) (time.Duration, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxStall {
		return 0, badRequest{fmt.Errorf("%s %q: want a duration from 0s to %v", name, text, maxStall)}
	}
	return d, nil
}

func (c *Control) behaviour(w http.ResponseWriter, r *http.Request) {
	sinks, err := c.selected(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusOK, behaviours(sinks))
}

func behaviours(sinks []*Sink) []Behaviour {
	all := make([]Behaviour, len(sinks))
	for i, s := range sinks {
		all[i] = s.Behaviour()
	}
	return all
}

// behave changes the behaviours of sinks, starting from those that base returns. It checks all of
// them before it changes any.
func (c *Control) behave(w http.ResponseWriter, r *http.Request, base func(*Sink) Behaviour) {
	sinks, err := c.selected(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("read the request: %w", err))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := make([]Behaviour, len(sinks))
	for i, s := range sinks {
		wanted[i] = base(s)
		if err := wanted[i].parse(body); err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
	}
	var errs []error
	for i, s := range sinks {
		errs = append(errs, s.Behave(wanted[i]))
	}
	if err := errors.Join(errs...); err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	reply(w, http.StatusOK, behaviours(sinks))
}

// parse changes b by a JSON object, and checks the result.
func (b *Behaviour) parse(body []byte) error {
	if err := json.Unmarshal(body, b); err != nil {
		return fmt.Errorf("read a behaviour: %w", err)
	}
	return b.Check()
}

// Overview is the answer to /status.
type Overview struct {
	Lines  uint64   `json:"lines"` // of all sinks
	Bytes  uint64   `json:"bytes"`
	Sinks  []Status `json:"sinks"`
	Report *Report  `json:"report,omitempty"` // missing without a tally
}

// Report is the tally's report with a limited number of senders, faulty ones first. Lines in
// flight may seem lost.
type Report struct {
	tally.Report
	SendersLeftOut int `json:"senders_left_out"`
}

// Overview returns the current state of all sinks.
func (c *Control) Overview() Overview {
	var o Overview
	for _, s := range c.sinks {
		status := s.Status()
		o.Sinks = append(o.Sinks, status)
		o.Lines += status.Lines
		o.Bytes += status.Bytes
	}
	if c.tally != nil {
		o.Report = new(Report)
		o.Report.Report, o.Report.SendersLeftOut = c.tally.Report(nil).Brief(maxSenders)
	}
	return o
}

func (c *Control) status(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, c.Overview())
}

func fail(w http.ResponseWriter, code int, err error) {
	reply(w, code, struct {
		Error string `json:"error"`
	}{err.Error()})
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(body)
}
