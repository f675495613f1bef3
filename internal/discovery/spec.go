package discovery

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"linesplit/internal/hostport"
	"linesplit/target"
)

// The schemes of a Spec.
const (
	schemeDNS   = "dns"
	schemeSRV   = "srv"
	schemeFile  = "file"
	schemeExec  = "exec"
	schemeHTTP  = "discover+http"
	schemeHTTPS = "discover+https"
)

var schemes = []string{schemeDNS, schemeSRV, schemeFile, schemeExec, schemeHTTP, schemeHTTPS}

// Bounds of ?refresh=.
const (
	minRefresh = time.Second
	maxRefresh = 24 * time.Hour
)

// Spec is a source as -target names it. It is an immutable value; the zero value is not valid.
type Spec struct {
	text     string         // as it was written
	scheme   string         // one of the constants above
	place    string         // host:port, name, path or URL
	template target.Address // has the options of each target from the source, and samplePlace
	refresh  time.Duration  // 0: the answers of the source decide
	token    string         // name of the token file; empty for none
}

// IsSource reports whether a -target value names a source and not an address.
func IsSource(text string) bool {
	scheme, _, found := strings.Cut(text, "://")
	return found && slices.Contains(schemes, scheme)
}

// ParseSpec parses a -target value that names a source: dns://host:port, srv://name, file:///path,
// exec:///program, discover+http://host/path or discover+https://host/path.
//
// Options follow a ?. Those of a target's address hold for each target from the source. Further
// options are scheme=tls, refresh=30s and, for the last two schemes, token-file=/path; other text
// after the ? of these two is the query of the request. Targets without a scheme speak TLS if
// tlsByDefault is set.
func ParseSpec(text string, tlsByDefault bool) (Spec, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	s := Spec{text: text, scheme: scheme}
	place, query, _ := strings.Cut(rest, "?")
	s.place = place
	err := s.checkPlace()
	if err == nil {
		err = s.setOptions(query, tlsByDefault)
	}
	if err != nil {
		return Spec{}, fmt.Errorf("target %q: %w", text, err)
	}
	return s, nil
}

// String returns the source as it was written. It names the source in logs and metrics.
func (s Spec) String() string { return s.text }

// InGroup returns s with the group of all targets from there; empty for the group of -target.
func (s Spec) InGroup(name string) Spec {
	s.template.Group = name
	return s
}

// Group returns the group of all targets from there; empty for the group of -target.
func (s Spec) Group() string { return s.template.Group }

// Datagrams reports whether the targets without a scheme of their own are UDP.
func (s Spec) Datagrams() bool { return s.template.Scheme == target.SchemeUDP }

// MayListBoth reports whether the source may list targets with schemes of their own, and so both
// streams and datagrams, or TLS and plain text.
func (s Spec) MayListBoth() bool { return !s.AsksDNS() }

// AsksDNS reports whether the source is in DNS.
func (s Spec) AsksDNS() bool { return s.scheme == schemeDNS || s.scheme == schemeSRV }

// SamePlace reports whether two sources are the same except for their options.
func (s Spec) SamePlace(other Spec) bool { return s.scheme == other.scheme && s.place == other.place }

// Sample returns the address of an imaginary target from the source, with the options of all its
// targets, so that callers can check these.
func (s Spec) Sample() target.Address { return s.template }

func (s Spec) isHTTP() bool { return s.scheme == schemeHTTP || s.scheme == schemeHTTPS }

// checkPlace returns an error for a place that the scheme does not allow.
func (s Spec) checkPlace() error {
	switch s.scheme {
	case schemeDNS:
		if strings.HasPrefix(s.place, ":") {
			return fmt.Errorf("no name to look up: write dns://NAME%s", s.place)
		}
		_, err := target.ParseAddress(s.place, false)
		return errors.Unwrap(err)
	case schemeSRV:
		if strings.ContainsAny(s.place, ":/") {
			return errors.New("the records name the port: write srv://_NAME._tcp.DOMAIN")
		}
		if s.place == "" {
			return errors.New("no name: write srv://_NAME._tcp.DOMAIN")
		}
		return hostport.CheckHost(s.place)
	case schemeFile:
		if err := checkAbsolute(s.place, "file:///etc/linesplit/targets.json"); err != nil {
			return err
		}
		_, err := decoderFor(s.place)
		return err
	case schemeExec:
		return checkAbsolute(s.place, "exec:///usr/local/bin/list-targets")
	}
	u, err := url.Parse(strings.TrimPrefix(s.scheme, "discover+") + "://" + s.place)
	switch {
	case err != nil:
		return errors.New("not a URL: write discover+http://HOST/PATH")
	case u.User != nil:
		return errors.New("a name and a password would show in logs and metrics: write ?token-file=/PATH")
	case u.Hostname() == "":
		return errors.New("no host: write " + s.scheme + "://HOST/PATH")
	case u.Fragment != "":
		return errors.New("a # has no meaning here")
	}
	return hostport.CheckHost(u.Hostname())
}

// checkAbsolute returns an error, with an example, if path is not the absolute path of a file.
func checkAbsolute(path, example string) error {
	if !filepath.IsAbs(path) || path == "/" {
		return fmt.Errorf("%q is no absolute path: write three slashes, such as %s", path, example)
	}
	return nil
}

// setOptions reads the text after the ?.
func (s *Spec) setOptions(query string, tlsByDefault bool) error {
	scheme := target.SchemeTCP
	if tlsByDefault {
		scheme = target.SchemeTLS
	}
	path := ""
	if chosen := schemeIn(query); chosen != "" {
		scheme = chosen
	}
	forTargets, own, request, err := s.splitQuery(query, scheme)
	if err != nil {
		return err
	}
	if s.isHTTP() {
		s.place = strings.TrimPrefix(s.scheme, "discover+") + "://" + s.place
		if request != "" {
			s.place += "?" + request
		}
	}
	for _, key := range slices.Sorted(maps.Keys(own)) {
		value := own.Get(key)
		switch key {
		case "scheme":
			value = asScheme(value)
			if !target.IsScheme(value) || value == target.SchemeUnix {
				return fmt.Errorf("scheme=%q is none of targets: write one such as scheme=tcp, scheme=tls or scheme=http", value)
			}
		case "path":
			path = value
		case "refresh":
			s.refresh, err = time.ParseDuration(value)
			if err != nil || s.refresh < minRefresh || s.refresh > maxRefresh {
				return fmt.Errorf("refresh=%q is no duration from 1s to 24h: write refresh=30s", value)
			}
		case "token-file":
			if !filepath.IsAbs(value) {
				return fmt.Errorf("token-file=%s is no absolute path: write token-file=/etc/linesplit/token", value)
			}
			s.token = value
		}
		if len(own[key]) > 1 {
			return fmt.Errorf("option %s is given %d times", key, len(own[key]))
		}
	}
	if s.scheme == schemeSRV && forTargets.Has("weight") {
		return errors.New("the records have weights: leave out the option")
	}
	s.template, err = target.ParseAddress(scheme+"://"+samplePlace+path+"?"+forTargets.Encode(), false)
	return errors.Unwrap(err)
}

// samplePlace is the address of an imaginary target; no host has it (RFC 5737).
const samplePlace = "192.0.2.1:1"

// schemeIn returns the scheme of the targets that options name; empty if they name none.
func schemeIn(query string) string {
	options, _ := url.ParseQuery(query) // splitQuery returns the error
	return asScheme(options.Get("scheme"))
}

// asScheme returns a scheme with the plus sign that a query takes for a space.
func asScheme(value string) string { return strings.ReplaceAll(value, " ", "+") }

// splitQuery splits the text after the ? into options of targets, options of the source, and the
// query of an HTTP request.
func (s *Spec) splitQuery(query, scheme string) (forTargets, own url.Values, request string, err error) {
	forTargets, own = url.Values{}, url.Values{}
	acknowledges := target.Address{Scheme: scheme}.Acknowledges()
	var rest []string
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		values, err := url.ParseQuery(part)
		if err != nil {
			return nil, nil, "", fmt.Errorf("options %q: %w", part, err)
		}
		key, _, _ := strings.Cut(part, "=")
		for key, all := range values {
			value := all[0]
			switch {
			case key == "scheme", key == "refresh", key == "path" && acknowledges, key == "token-file" && s.isHTTP():
				own.Add(key, value)
			case !isTargetOption(key, scheme) && s.isHTTP():
				rest = append(rest, part)
			default:
				forTargets.Add(key, value)
			}
		}
		if !isTargetOption(key, scheme) && !s.isHTTP() && !own.Has(key) {
			return nil, nil, "", fmt.Errorf("unknown option %q: use scheme=tls, refresh=30s, or an option of targets "+
				"such as server-name=NAME, via-proxy=true or weight=3", key)
		}
	}
	return forTargets, own, strings.Join(rest, "&"), nil
}

// isTargetOption reports whether key is an option of the address of a target with a scheme.
func isTargetOption(key, scheme string) bool {
	place := samplePlace
	if (target.Address{Scheme: scheme}).Bulk() {
		place += "/_bulk"
	}
	_, err := target.ParseAddress(scheme+"://"+place+"?"+url.QueryEscape(key)+"=", false)
	return !errors.Is(err, target.ErrUnknownOption)
}

// Check returns an error if the source names a file that is not of the right kind, or a program
// that cannot be started. A list that does not exist is valid, since it may come later. Check reads
// the file system, and may block as long as the disk does.
func (s Spec) Check() error {
	if s.scheme != schemeFile && s.scheme != schemeExec {
		return nil
	}
	info, err := os.Stat(s.place)
	switch {
	case err != nil && s.scheme == schemeFile:
		return nil
	case err != nil:
		return fmt.Errorf("the program %s cannot be started: %w", s.place, errors.Unwrap(err))
	case info.IsDir():
		return fmt.Errorf("%s is a directory", s.place)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", s.place)
	case s.scheme == schemeExec && info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable: run chmod +x %s", s.place, s.place)
	}
	return nil
}

// target returns the address of a target at host and port.
func (s Spec) target(host, port string) (target.Address, error) {
	return s.parse(net.JoinHostPort(host, port))
}

// parse reads the address of a target in a list: HOST:PORT, or with a scheme of its own.
func (s Spec) parse(text string) (target.Address, error) {
	written := text
	if !strings.Contains(text, "://") {
		written = s.template.Scheme + "://" + text + s.template.Path
	}
	if strings.ContainsAny(text, "?") {
		return target.Address{}, fmt.Errorf("%.100q: options belong to the source", text)
	}
	a, err := target.ParseAddress(written, false)
	if err != nil {
		return target.Address{}, fmt.Errorf("%.100q: %w", text, errors.Unwrap(err))
	}
	all := s.template
	all.Scheme, all.Host, all.Path = a.Scheme, a.Host, a.Path
	if a.Scheme != s.template.Scheme { // options of one protocol may mean nothing to another
		all.Batching = target.Batching{}
	}
	if !a.Secure() {
		all.ServerName = ""
	}
	if a.Scheme == target.SchemeUDP {
		all.ProxyProtocol = 0
	}
	return all, nil
}
