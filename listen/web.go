package listen

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/framing"
)

// Web holds the options of an http:// or https:// listener. The zero value is that of any other.
type Web struct {
	On         bool
	Path       string        // of requests; empty: any
	TokenFile  string        // empty: no token is needed
	MaxRequest int64         // of a request, in bytes, before and after decompression
	Timeout    time.Duration // for a request to arrive, and again for its lines to be confirmed
}

// Defaults and bounds of the options of Web.
const (
	DefaultMaxRequest = 4 << 20
	leastMaxRequest   = 1 << 10
	mostMaxRequest    = 1 << 30

	DefaultWebTimeout = 45 * time.Second
	leastWebTimeout   = time.Second
	mostWebTimeout    = time.Hour
)

// Web returns the options of an http:// or https:// listener.
func (s Spec) Web() Web { return s.web }

// parseWeb parses what follows http:// or https://.
func parseWeb(s Spec, rest string) (Spec, error) {
	rest, query, _ := strings.Cut(rest, "?")
	s.web = Web{On: true, MaxRequest: DefaultMaxRequest, Timeout: DefaultWebTimeout}
	s.address = rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		s.address, s.web.Path = rest[:i], rest[i:]
	}
	if strings.Contains(s.address, "@") {
		return s, errors.New("user names have no place here: write ?token-file=FILE for a token that senders must have")
	}
	options, err := url.ParseQuery(query)
	if err != nil {
		return s, fmt.Errorf("options: %w", err)
	}
	return s, errors.Join(checkHostPort(s.address), checkWebPath(s.web.Path), s.web.set(options))
}

func checkWebPath(path string) error {
	if u := (url.URL{Path: path}); u.EscapedPath() != path || strings.ContainsAny(path, "%#") {
		return fmt.Errorf("path %q: want one without escapes, such as /lines", path)
	}
	return nil
}

func (w *Web) set(options url.Values) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(options)) {
		values := options[key]
		value := values[0]
		var err error
		switch {
		case key == "framing":
			err = errors.New("option framing: the records of a request end in newlines")
		case !slices.Contains([]string{"token-file", "max-request", "timeout"}, key):
			err = fmt.Errorf("unknown option %q: known are token-file, max-request and timeout", key)
		case len(values) > 1:
			err = fmt.Errorf("option %s is given %d times", key, len(values))
		case key == "token-file" && value == "":
			err = errors.New("option token-file: no file")
		case key == "token-file":
			w.TokenFile = value
		case key == "max-request":
			w.MaxRequest, err = parseMaxRequest(value)
		case key == "timeout":
			w.Timeout, err = parseWebTimeout(value)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func parseMaxRequest(value string) (int64, error) {
	n, err := humanize.ParseBytes(value)
	if err != nil || n < leastMaxRequest || n > mostMaxRequest {
		return DefaultMaxRequest, fmt.Errorf("max-request %q: want a size from 1KiB to 1GiB, such as 4MiB", value)
	}
	return int64(n), nil
}

func parseWebTimeout(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < leastWebTimeout || d > mostWebTimeout {
		return DefaultWebTimeout, fmt.Errorf("timeout %q: want a duration from 1s to 1h, such as 45s", value)
	}
	return d, nil
}

// queryText escapes what would end a value in a query, and leaves slashes as they are.
var queryText = strings.NewReplacer("%", "%25", "&", "%26", "+", "%2B", "#", "%23", ";", "%3B", " ", "%20", ",", "%2C")

// options returns the options that differ from their defaults, as Parse takes them.
func (w Web) options() (all []string) {
	if !w.On {
		return nil
	}
	if w.TokenFile != "" {
		all = append(all, "token-file="+queryText.Replace(w.TokenFile))
	}
	if w.MaxRequest != DefaultMaxRequest {
		all = append(all, "max-request="+sizeText(w.MaxRequest))
	}
	if w.Timeout != DefaultWebTimeout {
		all = append(all, "timeout="+w.Timeout.String())
	}
	return all
}

// sizeText returns a size in the largest unit of which it is a multiple.
func sizeText(n int64) string {
	switch {
	case n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprint(n)
}

// use is the part of a listener that knows what its connections carry.
type use struct {
	framing framing.Framing
	web     Web
	relp    bool
}

// scheme returns the scheme of a listener over TCP.
func (u *use) scheme(secure bool) string {
	switch {
	case u.web.On && secure:
		return schemeHTTPS
	case u.web.On:
		return schemeHTTP
	case u.relp && secure:
		return schemeRELPTLS
	case u.relp:
		return schemeRELP
	case secure:
		return schemeTLS
	}
	return schemeTCP
}

// Framing returns how the lines of senders are told apart.
func (u *use) Framing() framing.Framing { return u.framing }

// Web returns the options for HTTP requests, which it is for if On is set.
func (u *use) Web() Web { return u.web }

// RELP reports whether senders speak RELP.
func (u *use) RELP() bool { return u.relp }

// SetUse takes over from s what connections carry. It comes before the first Accept.
func (u *use) SetUse(s Spec) { u.framing, u.web, u.relp = s.framing, s.web, s.RELP() }

// suffix returns what follows the address in the name of a listener.
func (u *use) suffix() string {
	options := u.web.options()
	if u.framing != framing.Newline {
		options = append(options, "framing="+u.framing.String())
	}
	if len(options) == 0 {
		return u.web.Path
	}
	return u.web.Path + "?" + strings.Join(options, "&")
}
