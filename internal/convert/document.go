package convert

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"linesplit/internal/config"
	"linesplit/internal/discovery"
	"linesplit/listen"
	"linesplit/target"
)

// document is the linesplit configuration that a reader fills.
type document struct {
	origin    Origin
	source    string              // base name of the input file
	head      *section            // the top of the file
	services  []*section          // in the order of the input
	names     map[string]bool     // names of all services
	missed    map[int]*missing    // all lines without a counterpart, by their numbers
	listeners map[string]listener // all listeners so far, by address
	addresses int                 // listeners and targets so far, also those that were refused
	overflow  error               // the first limit that was exceeded
}

// section is the top of the file, or one [service.NAME].
type section struct {
	d        *document
	name     string // empty: the top of the file
	line     int    // line of the input at which the service begins
	comment  string // names the part of the input that the service comes from
	settings []setting
	missing  []*missing      // lines without a counterpart that the section names
	targets  map[string]bool // targetKey of each target
	group    string          // services of one group share listeners; empty: the service shares none
}

// setting is one key and its value.
type setting struct {
	key     string
	value   any // string, bool, int or []item
	comment string
}

// item is one entry of a list.
type item struct {
	text    string
	comment string
}

// missing is a line of the input that has no counterpart, whole or in part.
type missing struct {
	line  int
	texts []string // the parts without a counterpart, or the whole line
	whys  []string // reasons and hints; may be empty
}

// listener is an address to listen on that a service has taken.
type listener struct {
	service string // name of the service
	group   string // of the service
	line    int    // line of the input that names the address
	udp     bool
	port    string // empty for a Unix socket
	any     bool   // the address stands for every address of the machine
}

func newDocument(in Input) *document {
	d := &document{
		origin: in.Origin, source: filepath.Base(in.Name),
		names: map[string]bool{}, missed: map[int]*missing{}, listeners: map[string]listener{},
	}
	d.head = &section{d: d}
	return d
}

// service adds a service with the given name, in which serviceName replaces characters, and which
// gets a number if another service has it.
func (d *document) service(name string, line int, comment string) *section {
	if len(d.services) == maxServices {
		d.failServices()
	}
	s := &section{
		d: d, name: d.freeName(serviceName(name)), line: line, comment: comment, targets: map[string]bool{},
	}
	if d.overflow == nil {
		d.services = append(d.services, s)
	}
	return s
}

// freeName returns the name, with a number if another service has it.
func (d *document) freeName(name string) string {
	free := name
	for n := 2; d.names[free]; n++ {
		free = name + "-" + strconv.Itoa(n)
	}
	d.names[free] = true
	return free
}

// serviceName returns a valid name for a service: it replaces characters and shortens the name.
func serviceName(name string) string {
	name = strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, name), "-_")
	return cmp.Or(name[:min(len(name), 60)], "service")
}

// fail records a limit that was exceeded; check returns the first one.
func (d *document) fail(err error) { d.overflow = cmp.Or(d.overflow, err) }

func (d *document) failServices() { d.fail(fmt.Errorf("more than %d services", maxServices)) }

// check removes services that could not run, and returns an error if a limit was exceeded or no
// service is left.
func (d *document) check() error {
	d.services = slices.DeleteFunc(d.services, func(s *section) bool {
		lacks := ""
		switch {
		case len(s.list("listen")) == 0:
			lacks = "no address to listen on"
		case len(s.list("target")) == 0:
			lacks = "no target"
		default:
			return false
		}
		d.head.miss(s.line, "service "+s.name, "left out: there is "+lacks)
		d.head.missing = append(d.head.missing, s.missing...)
		return true
	})
	if d.overflow != nil {
		return d.overflow
	}
	if len(d.services) == 0 {
		return errors.New("there is no service in it that linesplit could run" + d.firstMissing())
	}
	return nil
}

// firstMissing names the first line that has no counterpart, for an error.
func (d *document) firstMissing() string {
	if len(d.missed) == 0 {
		return ""
	}
	first := d.missed[slices.Min(slices.Collect(maps.Keys(d.missed)))]
	return "; the first of " + strconv.Itoa(len(d.missed)) + " lines without a counterpart is " + first.String()
}

// miss records that a line, or the part of it in text, has no counterpart. The comment about the
// line stands in the section that recorded it first.
func (s *section) miss(line int, text, why string) {
	m := s.d.missed[line]
	if m == nil {
		m = &missing{line: line}
		s.d.missed[line] = m
		s.missing = append(s.missing, m)
	}
	if !slices.Contains(m.texts, text) {
		m.texts = append(m.texts, text)
	}
	if why != "" && !slices.Contains(m.whys, why) {
		m.whys = append(m.whys, why)
	}
}

// set gives a key a value, in place of the one that it had.
func (s *section) set(key string, value any) { s.setWithComment(key, value, "") }

func (s *section) setWithComment(key string, value any, comment string) {
	s.unset(key)
	s.settings = append(s.settings, setting{key, value, comment})
}

func (s *section) unset(key string) {
	s.settings = slices.DeleteFunc(s.settings, func(have setting) bool { return have.key == key })
}

// get returns the value of a key, or nil.
func (s *section) get(key string) any {
	if i := slices.IndexFunc(s.settings, func(have setting) bool { return have.key == key }); i >= 0 {
		return s.settings[i].value
	}
	return nil
}

// list returns the entries of a key whose value is a list.
func (s *section) list(key string) []item {
	items, _ := s.get(key).([]item)
	return items
}

// add appends an entry to the list of a key.
func (s *section) add(key, text, comment string) {
	s.set(key, append(s.list(key), item{text, comment}))
}

// countAddress counts an address, and reports whether all limits still hold.
func (d *document) countAddress() bool {
	if d.addresses++; d.addresses > maxAddresses {
		d.fail(fmt.Errorf("more than %d addresses", maxAddresses))
	}
	return d.overflow == nil
}

// addListener adds an address to listen on. It returns an error if linesplit would refuse the
// address, or if it is taken already. If another address of the same service includes it,
// addListener does nothing.
func (s *section) addListener(line int, address, comment string) error {
	if !s.d.countAddress() {
		return nil
	}
	bare, _, _ := strings.Cut(address, "?")
	spec, err := listen.Parse(bare)
	if err != nil {
		return err
	}
	l := listener{service: s.name, group: s.group, line: line, udp: spec.UDP()}
	scheme, rest, _ := strings.Cut(spec.String(), "://")
	key := rest
	if scheme != "unix" {
		colon := strings.LastIndexByte(rest, ':')
		l.port = rest[colon+1:]
		l.any = slices.Contains([]string{"", "0.0.0.0", "[::]"}, rest[:colon])
		key = fmt.Sprint(l.udp, " ", rest)
	}
	taken, ok := s.d.listeners[key]
	switch {
	case ok && taken.group != "" && taken.group == s.group && !slices.Contains(s.list("listen"), item{address, comment}):
		s.add("listen", address, comment)
		return nil
	case ok:
		return fmt.Errorf("line %d listens there already", taken.line)
	}
	if by, included := s.d.includes(l); included && by.service != s.name && (s.group == "" || by.group != s.group) {
		return fmt.Errorf("service %s, line %d, takes every connection to port %s", by.service, by.line, l.port)
	} else if included {
		return nil
	}
	s.d.listeners[key] = l
	s.add("listen", address, comment)
	return nil
}

// includes returns the listener on every address of the machine that has l's port, if there is one
// and l is on a single address.
func (d *document) includes(l listener) (by listener, found bool) {
	if l.any || l.port == "" {
		return listener{}, false
	}
	for _, host := range []string{"", "0.0.0.0", "[::]"} {
		if by, found = d.listeners[fmt.Sprint(l.udp, " ", host, ":", l.port)]; found {
			return by, true
		}
	}
	return listener{}, false
}

// addTarget adds a target with its options in the order given. It returns an error if linesplit
// would refuse the target, or if the service has it already.
func (s *section) addTarget(address string, options []string, comment string) error {
	if !s.d.countAddress() {
		return nil
	}
	if options != nil {
		address += "?" + strings.Join(options, "&")
	}
	key, err := targetKey(address)
	if err != nil {
		return err
	}
	if strings.Contains(address, ",") {
		return errors.New("linesplit would take the comma for the end of the address")
	}
	if s.targets[key] {
		return errors.New("a target of this service has that address already")
	}
	s.targets[key] = true
	s.add("target", address, comment)
	return nil
}

// targetKey returns the part of a target, or of a source of targets, that no two targets of a
// service may share. It returns an error if linesplit would refuse the target.
func targetKey(text string) (string, error) {
	if discovery.IsSource(text) {
		_, err := discovery.ParseSpec(text, false)
		key, _, _ := strings.Cut(text, "?")
		return key, err
	}
	a, err := target.ParseAddress(text, false)
	return config.AddressKey(a.String()), err
}

// hoist moves settings that all services have in common to the top of the file.
func (d *document) hoist() {
	if len(d.services) < 2 {
		return
	}
	for _, candidate := range slices.Clone(d.services[0].settings) {
		if candidate.key == "listen" || candidate.key == "target" || d.head.get(candidate.key) != nil {
			continue
		}
		if !slices.ContainsFunc(d.services, func(s *section) bool { return !s.has(candidate) }) {
			d.head.settings = append(d.head.settings, candidate)
			for _, s := range d.services {
				s.unset(candidate.key)
			}
		}
	}
}

// has reports whether the section has a setting, with its value and comment.
func (s *section) has(wanted setting) bool {
	return slices.ContainsFunc(s.settings, func(have setting) bool {
		return have.key == wanted.key && render(have) == render(wanted)
	})
}

// setIdle sets the idle timeouts of clients and targets; 0 stands for no timeout. One timeout for
// both sides takes the place of two equal ones, since each side takes what the other sends.
func (s *section) setIdle(client, target time.Duration) {
	if client == target && client > 0 {
		s.set("idle-timeout", durationText(within(client)))
		return
	}
	for _, side := range []struct {
		key  string
		idle time.Duration
	}{{"client-idle-timeout", client}, {"target-idle-timeout", target}} {
		if side.idle > 0 {
			s.set(side.key, durationText(within(side.idle)))
		}
	}
}
