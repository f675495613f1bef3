package convert

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// haLine is a line of an HAProxy configuration.
type haLine struct {
	n      int      // number of the line, from 1
	words  []string // at least one
	shared bool     // the line stands in a defaults section
}

// String returns the line as a comment names it, without passwords.
func (l haLine) String() string {
	words := slices.Clone(l.words)
	for i := 1; i+1 < len(words); i++ {
		if slices.Contains([]string{"auth", "password", "insecure-password"}, words[i]) {
			words[i+1] = "…"
		}
	}
	return strings.Join(words, " ")
}

// arg returns word i, from 0, or "" if the line is shorter.
func (l haLine) arg(i int) string {
	if i < len(l.words) {
		return l.words[i]
	}
	return ""
}

// haSection is one section: its first line and the lines below it.
type haSection struct {
	kind, name string // such as "frontend" and "web"
	head       haLine
	lines      []haLine
	from       *haSection // the defaults that apply, or nil
	inUse      bool       // a service uses the section, a backend or resolvers
}

// haFile is a whole configuration.
type haFile struct {
	d        *document
	sections []*haSection
	env      map[string]string           // variables of setenv and presetenv
	outside  func(string) (string, bool) // looks up a variable of the environment

	certBase, caBase string       // directories of relative file names; empty for none
	minTLS           string       // from ssl-default-bind-options and -server-options; empty for none
	logs             bool         // the global section has a log line
	read             int          // lines of proxies so far; a shared line counts once for each proxy
	converted        map[int]bool // numbers of lines with a counterpart, in sections that are no proxies of mode tcp
}

// haKinds are the words that begin a section.
var haKinds = []string{
	"global", "defaults", "frontend", "backend", "listen", "resolvers", "peers", "mailers", "userlist", "cache",
	"program", "http-errors", "ring", "log-forward", "log-profile", "fcgi-app", "crt-store", "traces", "acme",
}

// readHAProxy fills d from an HAProxy configuration.
func readHAProxy(d *document, in Input) error {
	f := &haFile{d: d, env: map[string]string{}, outside: in.Env, converted: map[int]bool{}}
	f.split(string(in.Text))
	if len(f.sections) == 0 {
		return errors.New("it has no section such as frontend, backend or listen")
	}
	for _, s := range f.sections {
		if s.kind == "global" {
			f.global(s)
		}
	}
	f.proxies()
	f.leftOver()
	return nil
}

// lookup returns the value of a variable: that of setenv, or that of the environment.
func (f *haFile) lookup(name string) (string, bool) {
	if value, found := f.env[name]; found {
		return value, true
	}
	return f.outside(name)
}

// split cuts the text into sections. It records lines that no section can use.
func (f *haFile) split(text string) {
	var now, defaults *haSection
	conditions := 0 // how many .if blocks the line is within
	n := 0
	for raw := range strings.Lines(text) {
		n++
		words, err := splitWords(strings.TrimRight(raw, "\r\n"), f.lookup)
		line := haLine{n: n, words: words}
		switch {
		case err != nil:
			f.d.head.miss(n, strings.TrimSpace(raw), err.Error())
			continue
		case len(words) == 0:
			continue
		case strings.HasPrefix(words[0], "."), conditions > 0:
			f.d.head.miss(n, line.String(), "convert does not judge conditions: it leaves out what stands between .if and .endif")
			conditions = max(0, conditions+condition(words[0]))
			continue
		case words[0] == "setenv" || words[0] == "presetenv":
			f.setEnv(line)
			continue
		case !slices.Contains(haKinds, words[0]):
			if now == nil {
				f.d.head.miss(n, line.String(), "outside a section")
				continue
			}
			line.shared = now.kind == "defaults"
			now.lines = append(now.lines, line)
			continue
		}
		now = &haSection{kind: words[0], name: line.arg(1), head: line, from: defaults}
		f.sections = append(f.sections, now)
		if now.kind == "defaults" {
			now.from, defaults = nil, now
		}
		f.chooseDefaults(now)
	}
}

// condition returns the change in the depth of .if blocks that a line beginning with word makes.
func condition(word string) int {
	switch word {
	case ".if":
		return 1
	case ".endif":
		return -1
	}
	return 0
}

// setEnv reads a line "setenv NAME VALUE", which replaces a variable, or "presetenv NAME VALUE",
// which does not.
func (f *haFile) setEnv(l haLine) {
	if len(l.words) < 3 {
		f.d.head.miss(l.n, l.String(), "it needs a name and a value")
		return
	}
	if _, set := f.lookup(l.words[1]); !set || l.words[0] == "setenv" {
		f.env[l.words[1]] = strings.Join(l.words[2:], " ")
	}
}

// chooseDefaults sets the defaults of a section that names them with "from NAME".
func (f *haFile) chooseDefaults(s *haSection) {
	i := slices.Index(s.head.words, "from")
	if i < 1 || i+1 >= len(s.head.words) {
		return
	}
	name := s.head.words[i+1]
	for _, d := range f.sections {
		if d.kind == "defaults" && d.name == name && d != s {
			s.from = d
		}
	}
}

// all returns the lines that apply in a section, those of its defaults first. Defaults may build on
// other defaults.
func (s *haSection) all() (lines []haLine) {
	chain := []*haSection{s}
	for at := s.from; at != nil && !slices.Contains(chain, at) && len(chain) < 8; at = at.from {
		chain = append(chain, at)
	}
	for _, part := range slices.Backward(chain) {
		lines = append(lines, part.lines...)
	}
	return lines
}

// last returns the last line that begins with a word, and whether there is one.
func (s *haSection) last(word string) (found haLine, ok bool) {
	for _, l := range s.all() {
		if l.words[0] == word {
			found, ok = l, true
		}
	}
	return found, ok
}

// mode returns the mode of the section, such as tcp or http.
func (s *haSection) mode() string {
	if l, ok := s.last("mode"); ok {
		return l.arg(1)
	}
	return "tcp"
}

// missAll records that no line of a section has a counterpart.
func (s *haSection) missAll(into *section, why string) {
	into.miss(s.head.n, s.head.String(), why)
	for _, l := range s.lines {
		into.miss(l.n, l.String(), "")
	}
}

// title returns how comments name a section.
func (s *haSection) title() string {
	return strings.TrimSpace(s.kind+" "+s.name) + ", line " + strconv.Itoa(s.head.n)
}
