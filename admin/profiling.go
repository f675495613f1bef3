package admin

import (
	"net/http"
	"net/http/pprof"
)

// maxProfiles limits concurrent profiles: each slows down the whole process.
const maxProfiles = 2

// registerProfiling serves profiles to authenticated clients. It leaves out pprof's cmdline: the
// command line can hold secrets, which the configuration masks.
func registerProfiling(mux *http.ServeMux, g *gate) {
	slots := make(chan struct{}, maxProfiles)
	handle := func(path string, h http.HandlerFunc) { mux.Handle("GET /debug/pprof/"+path, profiled(g, slots, h)) }
	handle("{$}", pprof.Index)
	handle("profile", pprof.Profile)
	handle("trace", pprof.Trace)
	handle("symbol", pprof.Symbol)
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		handle(name, pprof.Handler(name).ServeHTTP)
	}
}

func profiled(g *gate, slots chan struct{}, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := g.check(r, toChange); p != nil {
			refuse(w, r, p)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			defer keepPlace(r)()
		default:
			refuse(w, r, newProblem(http.StatusServiceUnavailable, "busy",
				"%d profiles are being taken: try again later", maxProfiles))
			return
		}
		h(w, r) // extends the write timeout of the server
	})
}
