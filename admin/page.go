package admin

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// contentPolicy lets the page load its own files and talk to this server only.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page serves the status page and its files.
func page(g *gate) http.Handler {
	root, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // cannot fail: the name is a valid constant
	}
	files := http.FileServerFS(root)
	wrong := wrongMethod([]string{"GET"})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			wrong.ServeHTTP(w, r)
			return
		}
		if p := g.check(r, toRead); p != nil {
			refuse(w, r, p)
			return
		}
		if name := strings.Trim(path.Clean("/"+r.URL.Path), "/"); name != "" && !isFile(root, name) {
			refuse(w, r, newProblem(http.StatusNotFound, "no-such-path", "there is no %q", r.URL.Path))
			return
		}
		w.Header().Set("Content-Security-Policy", contentPolicy)
		w.Header().Set("Cache-Control", "no-cache")
		files.ServeHTTP(w, r)
	})
}

// isFile reports whether there is a file of a name, which may be no valid one.
func isFile(root fs.FS, name string) bool {
	info, err := fs.Stat(root, name)
	return err == nil && info.Mode().IsRegular()
}

// withSecurityHeaders adds headers to every response: browsers do not guess its type, show it in
// frames, send its address elsewhere, or let other origins load it.
func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}
