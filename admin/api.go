package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	apiPrefix   = "/api/v1"
	maxBody     = 64 << 10         // bytes
	maxRequests = 32               // concurrent, of either kind of client; further ones get 503
	changeLimit = 20 * time.Second // for one call of Control; less than writeTimeout
)

// api is the JSON API to a Control.
type api struct {
	control Control // nil if services have names
	process Process // nil if they have none
	gate    *gate
	log     *slog.Logger
	sampler *sampler
	// Each holds one value per request of its kind of client that is being worked on. Clients do
	// not hold one while they take their answer. Streams of events have a limit of their own.
	known, anonymous chan struct{}
}

func newAPI(o Options, g *gate) *api {
	a := &api{
		control: o.Control, process: o.Process, gate: g, log: o.Logger,
		known: make(chan struct{}, maxRequests), anonymous: make(chan struct{}, maxRequests),
	}
	a.sampler = newSampler(a.statuses)
	return a
}

// handler answers a request, or writes nothing and returns an error: a *problem, an error of
// Control, or an internal one.
type handler func(v view, w http.ResponseWriter, r *http.Request) error

// route is one operation of the API. openapi.json describes them all.
type route struct {
	method, path string // path is below apiPrefix, a pattern of http.ServeMux
	level        level
	handle       handler
	stream       bool // takes no slot, and writes as it goes
	whole        bool // of the process, rather than of one service
	named        bool // only below servicePrefix
}

// processRoutes returns the operations of the whole process.
func processRoutes() []route {
	return []route{
		{method: "GET", path: "/services", level: toRead, handle: view.getServices, whole: true},
		{method: "GET", path: "/openapi.json", level: toRead, handle: view.getDescription, whole: true},
		{method: "GET", path: "/config", level: toInspect, handle: view.getAllConfig, whole: true},
		{method: "POST", path: "/reload", level: toChange, handle: view.reload, whole: true},
	}
}

// serviceRoutes returns the operations of one service. A target's name contains slashes and is
// escaped in a path, as in tcp:%2F%2F10.0.0.1:9999.
func serviceRoutes() []route {
	return []route{
		{method: "GET", path: "/status", level: toRead, handle: view.getStatus},
		{method: "GET", path: "/history", level: toRead, handle: view.getHistory},
		{method: "GET", path: "/ledger", level: toRead, handle: view.getLedger},
		{method: "GET", path: "/spool", level: toRead, handle: view.getSpool},
		{method: "GET", path: "/targets", level: toRead, handle: view.getTargets},
		{method: "GET", path: "/targets/{name}", level: toRead, handle: view.getTarget},
		{method: "GET", path: "/events", level: toRead, handle: view.events, stream: true},
		{method: "GET", path: "/connections", level: toInspect, handle: view.getConnections},
		{method: "GET", path: "/config", level: toInspect, handle: view.getConfig, named: true},
		{method: "POST", path: "/targets", level: toChange, handle: view.addTarget},
		{method: "DELETE", path: "/targets/{name}", level: toChange, handle: view.removeTarget},
		{method: "POST", path: "/targets/{name}/drain", level: toChange, handle: view.drainTarget},
		{method: "POST", path: "/targets/{name}/resume", level: toChange, handle: view.resumeTarget},
		{method: "PUT", path: "/targets/{name}/weight", level: toChange, handle: view.setWeight},
		{method: "PUT", path: "/balance", level: toChange, handle: view.setBalance},
	}
}

// register adds the API to mux. Paths under /api/ that are no route get a problem, too.
func (a *api) register(mux *http.ServeMux) {
	methods := map[string][]string{}
	for _, route := range a.routes() {
		mux.Handle(route.method+" "+apiPrefix+route.path, a.serve(route))
		methods[route.path] = append(methods[route.path], route.method)
	}
	for path, allowed := range methods {
		mux.Handle(apiPrefix+path, wrongMethod(allowed))
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, newProblem(http.StatusNotFound, "no-such-path",
			"there is no %s: see %s/openapi.json", r.URL.Path, apiPrefix))
	})
}

func wrongMethod(allowed []string) http.Handler {
	if slices.Contains(allowed, "GET") {
		allowed = append(allowed, "HEAD")
	}
	slices.Sort(allowed)
	list := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", list)
		refuse(w, r, newProblem(http.StatusMethodNotAllowed, "method",
			"%s does not accept %s, only %s", r.URL.Path, r.Method, list))
	})
}

// serve checks access, takes a slot, and answers errors with a problem. The body is not read
// before that.
func (a *api) serve(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := a.gate.check(r, route.level); p != nil {
			refuse(w, r, p)
			return
		}
		if route.stream {
			a.answer(w, r, route)
			return
		}
		if d := newDraft(); a.withSlot(r, func() { a.answer(d, r, route) }) {
			d.send(w)
			return
		}
		refuse(w, r, newProblem(http.StatusServiceUnavailable, "busy",
			"%d requests are being answered: try again later", maxRequests))
	})
}

// withSlot calls do, unless too many requests are being worked on. It reports whether it has.
func (a *api) withSlot(r *http.Request, do func()) bool {
	slots := a.anonymous
	if isAuthenticated(r) {
		slots = a.known
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
		defer keepPlace(r)()
		do()
		return true
	default:
		return false
	}
}

func (a *api) answer(w http.ResponseWriter, r *http.Request, route route) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	v, err := view{api: a}, error(nil)
	if !route.whole {
		v, err = a.view(r)
	}
	if err == nil {
		err = route.handle(v, w, r)
	}
	if route.level == toChange {
		a.logChange(r, err)
	}
	if err != nil {
		writeProblem(w, problemOf(err))
	}
}

// logChange logs a change, or an attempt.
func (a *api) logChange(r *http.Request, err error) {
	if err != nil {
		a.log.Warn("change by the API failed", "method", r.Method, "path", r.URL.Path, "peer", r.RemoteAddr, "err", err)
		return
	}
	a.log.Info("change by the API", "method", r.Method, "path", r.URL.Path, "peer", r.RemoteAddr)
}

// refuse answers a request with a problem without reading its body. It closes the connection
// afterwards instead of waiting for the body.
func refuse(w http.ResponseWriter, r *http.Request, p *problem) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
	writeProblem(w, p)
}

// decode reads a body of one JSON object. Fields that are not in value are errors.
func decode(r *http.Request, value any) error {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != "application/json" {
		return newProblem(http.StatusUnsupportedMediaType, "content-type",
			"the body must be application/json, not %q", r.Header.Get("Content-Type"))
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return bodyProblem(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		if err == nil {
			err = errors.New("something follows the first value")
		}
		return bodyProblem(err)
	}
	return nil
}

func bodyProblem(err error) *problem {
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem(http.StatusRequestEntityTooLarge, "body-too-long",
			"the body may have at most %d bytes", tooLong.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return newProblem(http.StatusRequestTimeout, "body-too-slow", "the body did not arrive in time")
	}
	if err == io.EOF {
		err = errors.New("it is empty")
	}
	return newProblem(http.StatusBadRequest, "body", "the body is not valid: %v", err)
}

// checkEmptyBody refuses the body of a request to an operation that takes none. It allows an empty
// object.
func checkEmptyBody(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	return decode(r, &struct{}{})
}

// changeContext returns the context for a call of Control. It outlives the client, so that a
// change is not left half done if the client disconnects.
func changeContext(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), changeLimit)
}
