package convert

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// haService makes one service of a frontend and its backend, or of a listen section.
type haService struct {
	f           *haFile
	s           *section
	front, back *haSection // the same for a listen section; back may be nil

	times    map[string]time.Duration // timeouts by their names, such as connect
	retries  int
	tcplog   bool               // option tcplog or httplog
	logs     bool               // a log line applies
	acls     map[string][]haACL // by their names
	rules    []haRule           // in order
	proxied  bool               // every bind line has accept-proxy
	binds    int                // number of bind lines
	ports    []string           // port or range of each TCP address of the bind lines
	only6    []haLine           // bind lines for IPv6 alone
	balance  string             // as linesplit's -balance takes it; empty for the default
	defaults haParams           // of default-server
	servers  []haServer
	backups  bool // option allbackups
	check    haCheck
	routes   *haRoutes // of the frontend
	names    []string  // server names of this service's clients; empty: all other clients
}

// A haRole tells which lines of a section to read: those of a frontend, of a backend, or both.
type haRole int

const (
	frontRole haRole = 1 << iota
	backRole
)

// A haHandler reads a line. It returns false if the line has no counterpart. If only a part has
// none, it records that itself and returns true.
type haHandler func(v *haService, l haLine) bool

// proxies makes services of all frontends and listen sections, in their order.
func (f *haFile) proxies() {
	for _, s := range f.sections {
		switch {
		case s.kind != "frontend" && s.kind != "listen", f.d.overflow != nil:
		case s.mode() != "tcp":
			f.otherMode(s)
		default:
			f.service(s)
		}
	}
}

// otherMode records that a section of another mode than tcp has no counterpart, except that the
// address of a statistics page becomes that of -admin.
func (f *haFile) otherMode(s *haSection) {
	why := "linesplit forwards connections and does not read " + strings.ToUpper(s.mode())
	if s.isStats() {
		why = "linesplit's own page and metrics are at -admin"
		f.adminFrom(s)
	}
	for _, l := range s.lines {
		if l.words[0] == "mode" || f.converted[l.n] {
			continue
		}
		f.d.head.miss(l.n, l.String(), why)
	}
	if !s.isStats() {
		f.d.head.miss(s.head.n, s.head.String(), why)
	}
}

// service makes a service of a frontend with its default backend, or of a listen section, and one
// for each backend whose clients are told apart by server names.
func (f *haFile) service(s *haSection) {
	routes := &haRoutes{}
	if s.kind == "frontend" {
		routes = f.routes(s)
	}
	for _, r := range routes.all {
		f.build(s, f.find("backend", r.backend), s.name+"-"+r.backend, routes, r.names)
	}
	back := s
	if s.kind == "frontend" {
		l, given := s.last("default_backend")
		if back = f.find("backend", l.arg(1)); back == nil && given && len(routes.all) > 0 {
			f.d.head.miss(l.n, l.String(), "no such backend")
		}
	}
	if back != nil || len(routes.all) == 0 {
		f.build(s, back, s.name, routes, nil)
	}
}

// build makes one service for the clients that ask for one of names, or for all other clients if
// names is empty. back is nil if the frontend has no backend, front if it is a listen section.
func (f *haFile) build(front, back *haSection, name string, routes *haRoutes, names []string) {
	v := &haService{
		f: f, front: front, back: back, times: map[string]time.Duration{}, retries: 3, acls: map[string][]haACL{},
		proxied: true, routes: routes, names: names,
	}
	v.defaults.weight = 1
	comment, role := front.title(), frontRole|backRole
	if front != back {
		role = frontRole
	}
	if front != back && back != nil {
		comment += "; " + back.title()
	}
	v.s = f.d.service(name, front.head.n, comment)
	if len(routes.all) > 0 {
		v.s.group = front.title()
	}
	v.headAddress(front.head)
	v.read(front, role)
	if back != nil && back != front {
		v.read(back, backRole)
	}
	v.finish()
}

// find returns a section and marks it as used, or returns nil.
func (f *haFile) find(kind, name string) *haSection {
	s := f.peek(kind, name)
	if s != nil {
		s.inUse = true
	}
	return s
}

// peek is find without the mark.
func (f *haFile) peek(kind, name string) *haSection {
	i := slices.IndexFunc(f.sections, func(s *haSection) bool { return s.kind == kind && s.name == name })
	if i < 0 {
		return nil
	}
	return f.sections[i]
}

// headAddress reads the old form "listen NAME ADDRESS".
func (v *haService) headAddress(head haLine) {
	if len(head.words) > 2 && head.words[2] != "from" {
		v.bind(haLine{n: head.n, words: append([]string{"bind"}, head.words[2:]...)})
	}
}

// read applies the lines of a section that belong to the role.
func (v *haService) read(s *haSection, role haRole) {
	lines := s.all()
	if v.f.read += len(lines); v.f.read > maxLines {
		v.f.d.fail(fmt.Errorf("its sections have more than %d lines, counted for each section that shares them", maxLines))
		return
	}
	for _, l := range lines {
		key := l.key()
		handler, inRole := haKeywords[key]
		switch {
		case l.words[0] == "no":
			v.negated(l)
		case inRole && handler.role&role != 0:
			if !handler.read(v, l) {
				v.miss(l, l.String(), handler.why)
			}
		case inRole && l.shared: // a line of defaults for sections of the other role
		case inRole:
			v.miss(l, l.String(), "not in a "+s.kind)
		case haImplied[key]:
		default:
			v.miss(l, l.String(), haReasons[key])
		}
	}
}

// key returns the keyword of the line: its first word, or the first two.
func (l haLine) key() string {
	switch l.words[0] {
	case "timeout", "option", "tcp-check", "http-check", "tcp-request", "external-check":
		return l.words[0] + " " + l.arg(1)
	}
	return l.words[0]
}

// negated reads a line "no …". It ignores those about settings without a counterpart.
func (v *haService) negated(l haLine) {
	switch rest := strings.Join(l.words[1:], " "); rest {
	case "log":
		v.logs = false
	case "option tcplog", "option httplog":
		v.tcplog = false
	case "option allbackups":
		v.backups = false
	}
}

// miss records a line in the service, or at the beginning of the file if the line is in defaults.
func (v *haService) miss(l haLine, text, why string) {
	if l.shared {
		v.f.d.head.miss(l.n, text, why)
		return
	}
	v.s.miss(l.n, text, why)
}

// haKeyword is a keyword of proxies that has a counterpart.
type haKeyword struct {
	role haRole // the sections that may have it
	read haHandler
	why  string // the reason that is given if read reports false
}

// haKeywords are the keywords of proxies that have a counterpart, by haLine.key.
var haKeywords map[string]haKeyword

func init() { // an initializer would be a cycle: the handlers use the table
	both := frontRole | backRole
	haKeywords = map[string]haKeyword{
		"bind":                      {frontRole, (*haService).bind, ""},
		"maxconn":                   {frontRole, (*haService).maxconn, "not a number"},
		"option tcplog":             {frontRole, (*haService).logFormat, ""},
		"option httplog":            {frontRole, (*haService).logFormat, ""},
		"log":                       {frontRole, (*haService).log, logsElsewhere},
		"acl":                       {frontRole, (*haService).acl, ""},
		"tcp-request connection":    {frontRole, (*haService).connectionRule, ""},
		"use_backend":               {frontRole, (*haService).useBackend, "linesplit chooses no service by such a condition"},
		"tcp-request inspect-delay": {frontRole, (*haService).lookAtHello, noLook},
		"tcp-request content":       {frontRole, (*haService).lookAtHello, noLook},
		"default_backend":           {frontRole, (*haService).defaultBackend, "no such backend"},
		"timeout client":            {frontRole, (*haService).timeout, noDuration},
		"timeout client-fin":        {frontRole, (*haService).timeout, noDuration},
		"clitimeout":                {frontRole, (*haService).oldTimeout, noDuration},
		"timeout tunnel":            {both, (*haService).timeout, noDuration},
		"timeout connect":           {backRole, (*haService).timeout, noDuration},
		"timeout server":            {backRole, (*haService).timeout, noDuration},
		"timeout server-fin":        {backRole, (*haService).timeout, noDuration},
		"timeout queue":             {backRole, (*haService).timeout, noDuration},
		"timeout check":             {backRole, (*haService).timeout, noDuration},
		"contimeout":                {backRole, (*haService).oldTimeout, noDuration},
		"srvtimeout":                {backRole, (*haService).oldTimeout, noDuration},
		"retries":                   {backRole, (*haService).setRetries, "not a number"},
		"balance":                   {backRole, (*haService).setBalance, "linesplit has no such rule"},
		"hash-type":                 {backRole, func(_ *haService, l haLine) bool { return l.arg(1) == "consistent" }, "source-hash is always consistent"},
		"default-server":            {backRole, (*haService).defaultServer, ""},
		"server":                    {backRole, (*haService).server, ""},
		"server-template":           {backRole, (*haService).template, ""},
		"option allbackups":         {backRole, func(v *haService, _ haLine) bool { v.backups = true; return true }, ""},
		"option tcp-check":          {backRole, (*haService).checkOption, ""},
		"option httpchk":            {backRole, (*haService).checkOption, ""},
		"option mysql-check":        {backRole, (*haService).checkOption, ""},
		"option redis-check":        {backRole, (*haService).checkOption, ""},
		"option ssl-hello-chk":      {backRole, (*haService).checkOption, ""},
		"option external-check":     {backRole, (*haService).checkOption, ""},
		"tcp-check connect":         {backRole, (*haService).checkStep, ""},
		"tcp-check send":            {backRole, (*haService).checkStep, ""},
		"tcp-check send-binary":     {backRole, (*haService).checkStep, ""},
		"tcp-check expect":          {backRole, (*haService).checkStep, ""},
		"tcp-check comment":         {backRole, (*haService).checkStep, ""},
		"http-check send":           {backRole, (*haService).checkStep, ""},
		"http-check expect":         {backRole, (*haService).checkStep, ""},
		"http-check connect":        {backRole, (*haService).checkStep, ""},
		"http-check comment":        {backRole, (*haService).checkStep, ""},
		"external-check command":    {backRole, (*haService).checkStep, ""},
	}
}

const (
	noLook        = "linesplit looks into connections for server names only, and where use_backend needs them"
	noDuration    = "not a duration"
	logsElsewhere = "linesplit logs to standard error, and -access-log to standard output"
)

// haImplied are the keywords for what linesplit always does.
var haImplied = map[string]bool{
	"mode": true, "enabled": true, "description": true, "redispatch": true,
	"option redispatch": true, "option log-health-checks": true, "option contstats": true,
	"option socket-stats": true, "option splice-auto": true, "option splice-request": true,
	"option splice-response": true, "option tcpka": true, "option clitcpka": true, "option srvtcpka": true,
}

// haReasons are explanations for keywords without a counterpart, or name what to use instead.
var haReasons = map[string]string{
	"stick":                    "balance = \"source-hash\" keeps a client at its target",
	"stick-table":              "balance = \"source-hash\" keeps a client at its target",
	"monitor-uri":              "/healthz and /readyz are at -admin",
	"log-format":               "-access-log has formats of its own",
	"option pgsql-check":       "linesplit checks with health = \"tcp\" instead, or with send-expect or exec",
	"option smtpchk":           "linesplit checks with health = \"tcp\" instead, or with send-expect or exec",
	"option ldap-check":        "linesplit checks with health = \"tcp\" instead, or with send-expect or exec",
	"option dontlognull":       "the access log calls such a connection client-closed or probe",
	"rate-limit":               "rate-per-client limits the connections of one client",
	"option forwardfor":        "HTTP",
	"option http-server-close": "HTTP",
	"option httpclose":         "HTTP",
	"option http-keep-alive":   "HTTP",
	"timeout http-request":     "HTTP",
	"timeout http-keep-alive":  "HTTP",
	"errorfile":                "HTTP",
	"cookie":                   "HTTP",
	"fullconn":                 "?max-connections of a target is fixed",
	"source":                   "linesplit connects from the address that the kernel chooses",
}

// haDuration reads a time as HAProxy writes it, in milliseconds if it has no unit.
func haDuration(text string) (time.Duration, bool) {
	end := len(text)
	for end > 0 && !isDigit(text[end-1]) {
		end--
	}
	units := map[string]time.Duration{
		"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	}
	u, known := units[text[end:]]
	n, err := strconv.ParseUint(text[:end], 10, 31)
	if err != nil || !known {
		return 0, false
	}
	if n > 0 && time.Duration(n) > maxDuration/u {
		return maxDuration, true
	}
	return time.Duration(n) * u, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// timeout reads "timeout NAME TIME"; 0 stands for no timeout.
func (v *haService) timeout(l haLine) bool {
	d, ok := haDuration(l.arg(2))
	if !ok {
		return false
	}
	v.times[l.words[1]] = d
	return true
}

// oldTimeout reads clitimeout, contimeout and srvtimeout, the older names of three timeouts.
func (v *haService) oldTimeout(l haLine) bool {
	name := map[string]string{"clitimeout": "client", "contimeout": "connect", "srvtimeout": "server"}[l.words[0]]
	return v.timeout(haLine{words: []string{"timeout", name, l.arg(1)}})
}

func (v *haService) maxconn(l haLine) bool {
	n, err := strconv.Atoi(l.arg(1))
	if err != nil || n < 0 || n > 1<<24 {
		return false
	}
	if n > 0 {
		v.s.set("max-connections", n)
	}
	return true
}

func (v *haService) setRetries(l haLine) bool {
	n, err := strconv.Atoi(l.arg(1))
	if err != nil || n < 0 {
		return false
	}
	v.retries = min(n, 1000)
	return true
}

// logFormat reads "option tcplog" and "option httplog".
func (v *haService) logFormat(haLine) bool {
	v.tcplog = true
	return true
}

// log reads "log …". It returns true if linesplit's own log takes the place of that one.
func (v *haService) log(l haLine) bool {
	v.logs = v.logs || l.arg(1) != "global" || v.f.logs
	return l.arg(1) == "global" || standardStream(l.arg(1))
}

// standardStream reports whether the address of a log is a standard stream of HAProxy's process.
func standardStream(address string) bool {
	return slices.Contains([]string{"stdout", "stderr", "fd@1", "fd@2"}, address)
}

func (v *haService) defaultBackend(haLine) bool { return v.back != nil }

// setBalance reads "balance RULE", where arguments may follow the rule in parentheses.
func (v *haService) setBalance(l haLine) bool {
	rule, arguments, _ := strings.Cut(l.arg(1), "(")
	rules := map[string]string{
		"roundrobin": "round-robin", "static-rr": "round-robin", "leastconn": "least-connections",
		"source": "source-hash", "random": "random",
	}
	v.balance = rules[rule]
	if v.balance == "random" && arguments != "" && arguments != "2)" {
		v.miss(l, l.String(), "random chooses the better of two")
	}
	return v.balance != ""
}

// finish sets the settings of the service, once all lines are read.
func (v *haService) finish() {
	v.s.set("mode", "connection")
	if v.balance != "" {
		v.s.set("balance", v.balance)
	}
	if v.tcplog && v.logs {
		v.s.set("access-log", "text")
	}
	v.byServerName()
	v.tlsVersion()
	v.only6Listeners()
	v.accessLists()
	v.targets()
	v.timeouts()
}

// timeouts turns HAProxy's timeouts into linesplit's.
func (v *haService) timeouts() {
	connect := v.times["connect"]
	if connect > 0 {
		v.s.set("dial-timeout", durationText(within(connect)))
		budget := within(connect * time.Duration(v.retries+1))
		v.s.setWithComment("dial-budget", durationText(budget), fmt.Sprintf("timeout connect, %s", times(v.retries+1)))
	}
	limited := slices.ContainsFunc(v.servers, func(s haServer) bool { return s.params.maxconn > 0 })
	if queue := cmp.Or(v.times["queue"], connect); limited && queue > 0 {
		v.s.set("queue-timeout", durationText(within(queue)))
	}
	if tunnel := v.times["tunnel"]; tunnel > 0 {
		v.s.set("idle-timeout", durationText(within(tunnel)))
	} else {
		v.s.setIdle(v.times["client"], v.times["server"])
	}
	if fin := max(v.times["client-fin"], v.times["server-fin"]); fin > 0 {
		v.s.set("linger-timeout", durationText(within(fin)))
	}
}

// times returns n times in words.
func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return strconv.Itoa(n) + " times"
}
