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
	maxRequests = 32               // at one time; more get 503. Streams of events have their own bound.
	changeLimit = 20 * time.Second // for one call of Control; less than writeTimeout
)

// api is the JSON interface over a Control.
type api struct {
	control Control
	gate    *gate
	log     *slog.Logger
	pulse   *pulse
	slots   chan struct{} // one for each request under way
}

func newAPI(o Options, g *gate) *api {
	a := &api{control: o.Control, gate: g, log: o.Logger, slots: make(chan struct{}, maxRequests)}
	a.pulse = newPulse(a.status)
	return a
}

// handler answers a request, or returns an error for it: a *problem, one of Control's, or a fault of our own. If it
// returns an error it has written nothing.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is one operation of the API. openapi.json describes each of them.
type route struct {
	method, path string // path below apiPrefix, as package http's patterns have it
	level        level
	handle       handler
	stream       bool // takes no slot
}

// routes are all there is. A target's name holds slashes: in a path it is escaped, tcp:%2F%2F10.0.0.1:9999.
func (a *api) routes() []route {
	return []route{
		{method: "GET", path: "/status", level: toRead, handle: a.getStatus},
		{method: "GET", path: "/history", level: toRead, handle: a.getHistory},
		{method: "GET", path: "/ledger", level: toRead, handle: a.getLedger},
		{method: "GET", path: "/targets", level: toRead, handle: a.getTargets},
		{method: "GET", path: "/targets/{name}", level: toRead, handle: a.getTarget},
		{method: "GET", path: "/events", level: toRead, handle: a.events, stream: true},
		{method: "GET", path: "/openapi.json", level: toRead, handle: getDescription},
		{method: "GET", path: "/connections", level: toInspect, handle: a.getConnections},
		{method: "GET", path: "/config", level: toInspect, handle: a.getConfig},
		{method: "POST", path: "/targets", level: toChange, handle: a.addTarget},
		{method: "DELETE", path: "/targets/{name}", level: toChange, handle: a.removeTarget},
		{method: "POST", path: "/targets/{name}/drain", level: toChange, handle: a.drainTarget},
		{method: "POST", path: "/targets/{name}/resume", level: toChange, handle: a.resumeTarget},
		{method: "PUT", path: "/targets/{name}/weight", level: toChange, handle: a.setWeight},
		{method: "PUT", path: "/balance", level: toChange, handle: a.setBalance},
		{method: "POST", path: "/reload", level: toChange, handle: a.reload},
	}
}

// register adds the API to mux. What is below apiPrefix and no route is answered with a problem too.
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
		refuse(w, r, newProblem(http.StatusNotFound, "no-such-path", "there is no %s: see %s/openapi.json", r.URL.Path, apiPrefix))
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
		refuse(w, r, newProblem(http.StatusMethodNotAllowed, "method", "%s is not for %s: %s is", r.URL.Path, r.Method, list))
	})
}

// serve asks the gate, takes a slot, and turns an error into a problem. Nothing of a body is read before a request has got so far.
func (a *api) serve(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := a.gate.check(r, route.level); p != nil {
			refuse(w, r, p)
			return
		}
		if !route.stream {
			select {
			case a.slots <- struct{}{}:
				defer func() { <-a.slots }()
			default:
				refuse(w, r, newProblem(http.StatusServiceUnavailable, "busy", "%d requests are being answered: try again later", maxRequests))
				return
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		err := route.handle(w, r)
		if route.level == toChange {
			a.note(r, err)
		}
		if err != nil {
			writeProblem(w, problemOf(err))
		}
	})
}

// note logs what was changed, or was to be.
func (a *api) note(r *http.Request, err error) {
	if err != nil {
		a.log.Warn("change by the API failed", "method", r.Method, "path", r.URL.Path, "peer", r.RemoteAddr, "err", err)
		return
	}
	a.log.Info("change by the API", "method", r.Method, "path", r.URL.Path, "peer", r.RemoteAddr)
}

// refuse answers a request whose body nobody has read with a problem. It does not wait for the body: the connection ends with
// the answer.
func refuse(w http.ResponseWriter, r *http.Request, p *problem) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
	writeProblem(w, p)
}

// decode reads a body of one JSON object. Fields that value does not have are errors.
func decode(r *http.Request, value any) error {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != "application/json" {
		return newProblem(http.StatusUnsupportedMediaType, "content-type", "a body has to be application/json, not %q", r.Header.Get("Content-Type"))
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
		return newProblem(http.StatusRequestEntityTooLarge, "body-too-long", "a body may have %d bytes", tooLong.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return newProblem(http.StatusRequestTimeout, "body-too-slow", "the body did not come in time")
	}
	if err == io.EOF {
		err = errors.New("it is empty")
	}
	return newProblem(http.StatusBadRequest, "body", "the body is not what it should be: %v", err)
}

// noBody is for operations that take none. An empty object is let pass.
func noBody(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	return decode(r, &struct{}{})
}

// changing gives a call of Control its context: what has begun is not left half done because a client goes away.
func changing(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), changeLimit)
}
