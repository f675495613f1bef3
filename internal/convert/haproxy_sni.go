package convert

import (
	"errors"
	"slices"
	"strings"

	"linesplit/internal/servername"
)

// haRoute is a backend that gets the clients that ask for certain server names.
type haRoute struct {
	backend string
	names   []string
}

// haRoutes are all routes of a frontend.
type haRoutes struct {
	all   []haRoute
	lines map[int]string  // use_backend lines that became routes, with the part that has no counterpart
	acls  map[int]bool    // acl lines that these use
	taken map[string]bool // names that a route has
}

// The criteria for the server name of a client: of TLS that HAProxy forwards, and of TLS that it
// terminates.
var (
	forwardedNames = []string{"req_ssl_sni", "req.ssl_sni"}
	endedNames     = []string{"ssl_fc_sni", "ssl_fc_sni_end"}
)

// routes reads the use_backend lines of a frontend whose condition is a server name. useBackend
// records the others.
func (f *haFile) routes(s *haSection) *haRoutes {
	r := &haRoutes{lines: map[int]string{}, acls: map[int]bool{}, taken: map[string]bool{}}
	v := &haService{f: f, acls: map[string][]haACL{}}
	lines := s.all()
	for _, l := range lines {
		if l.words[0] == "acl" && len(l.words) > 3 {
			v.acls[l.words[1]] = append(v.acls[l.words[1]], newACL(l, l.words[2:]))
		}
	}
	ended := endsTLS(lines)
	for _, l := range lines {
		if l.words[0] != "use_backend" || l.shared {
			continue
		}
		acls, negated, ok := v.condition(l.words[min(2, len(l.words)):])
		if !ok || negated || f.peek("backend", l.arg(1)) == nil {
			continue
		}
		names, missing, err := r.namesOf(acls, ended)
		if err != nil {
			continue
		}
		r.add(l.arg(1), names)
		r.lines[l.n] = missing
		for _, a := range acls {
			r.acls[a.line.n] = true
		}
	}
	return r
}

// endsTLS reports whether HAProxy terminates TLS at a listener of the frontend.
func endsTLS(lines []haLine) bool {
	return slices.ContainsFunc(lines, func(l haLine) bool {
		return l.words[0] == "bind" && slices.Contains(l.words, "ssl")
	})
}

// namesOf returns the server names of a condition, less those that an earlier route has, and what
// linesplit misses of the condition. The error says why it cannot be a route.
func (r *haRoutes) namesOf(acls []haACL, ended bool) (names []string, missing string, err error) {
	criteria := forwardedNames
	if ended {
		criteria = endedNames
	}
	for _, a := range acls {
		if !slices.Contains(criteria, a.criterion) || len(a.values) == 0 {
			return nil, "", errors.New("another condition")
		}
		suffix := a.criterion == "ssl_fc_sni_end" || slices.Contains(a.flags, "-m end")
		if other := slices.DeleteFunc(slices.Clone(a.flags), func(f string) bool { return f == "-i" || f == "-m end" || f == "-m str" }); len(other) > 0 {
			return nil, "", errors.New("another kind of comparison")
		}
		for _, text := range a.values {
			if suffix {
				text = "*." + strings.TrimPrefix(text, ".")
				missing = "names with more labels than one in place of the *"
			}
			name, err := servername.Parse(text)
			if err != nil {
				return nil, "", err
			}
			if !r.taken[name] && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		r.taken[name] = true
	}
	return names, missing, nil
}

// add adds names to the route to a backend.
func (r *haRoutes) add(backend string, names []string) {
	for i := range r.all {
		if r.all[i].backend == backend {
			r.all[i].names = append(r.all[i].names, names...)
			return
		}
	}
	r.all = append(r.all, haRoute{backend, names})
}

// useBackend reads a use_backend line, which has a counterpart if it became a route.
func (v *haService) useBackend(l haLine) bool {
	missing, routed := v.routes.lines[l.n]
	if missing != "" {
		v.miss(l, l.String(), missing)
	}
	return routed
}

// lookAtHello reads lines that make HAProxy wait for the first message of TLS. linesplit waits for
// it where it tells clients apart by server names.
func (v *haService) lookAtHello(l haLine) bool {
	if len(v.routes.all) == 0 {
		return false
	}
	text := strings.Join(l.words[min(2, len(l.words)):], " ")
	hello := strings.NewReplacer("req.ssl_hello_type", "req_ssl_hello_type").Replace(text)
	return l.arg(1) == "inspect-delay" || slices.Contains([]string{
		"accept if { req_ssl_hello_type 1 }", "reject if !{ req_ssl_hello_type 1 }", "reject unless { req_ssl_hello_type 1 }",
		"reject",
	}, hello)
}

// byServerName restricts the service to the clients that ask for its names, or to all others.
func (v *haService) byServerName() {
	if len(v.routes.all) == 0 {
		return
	}
	if !endsTLS(v.front.all()) {
		v.s.set("tls-passthrough", true)
	}
	for _, name := range v.names {
		v.s.add("sni", name, "")
	}
	if len(v.names) == 0 {
		v.s.set("sni-default", "all")
	}
}
