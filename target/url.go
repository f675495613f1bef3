package target

import (
	"fmt"
	"net/url"
	"strings"
)

// splitPath takes the path out of Host, and adds the default port.
func (a *Address) splitPath() {
	a.Path = "/"
	if i := strings.IndexByte(a.Host, '/'); i >= 0 {
		a.Host, a.Path = a.Host[:i], a.Host[i:]
	}
	if strings.LastIndexByte(a.Host, ':') <= strings.LastIndexByte(a.Host, ']') && a.Host != "" {
		port := ":80"
		if a.Secure() {
			port = ":443"
		}
		a.Host += port
	}
}

// notInURL reports whether a character must be escaped in the path and the query of a URL (RFC
// 3986).
func notInURL(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("#\"<>\\^`{|}", r) }

// RequestURL returns the URL that requests to a target go to, if it takes requests. TLS is not part
// of it.
func (a Address) RequestURL() *url.URL {
	path, _ := url.PathUnescape(a.Path) // it is valid
	return &url.URL{Scheme: SchemeHTTP, Host: a.Host, Path: path, RawPath: a.Path, RawQuery: a.Batching.Query}
}

// checkURLPath returns an error for a path that no request may have.
func (a Address) checkURLPath() error {
	if strings.ContainsFunc(a.Path, notInURL) {
		return fmt.Errorf("the path %q has characters that URLs have not: escape them", a.Path)
	}
	if _, err := url.PathUnescape(a.Path); err != nil {
		return fmt.Errorf("the path %q: %w", a.Path, err)
	}
	if a.Bulk() && !strings.HasSuffix(a.Path, "/_bulk") {
		return fmt.Errorf("the path %q does not lead to the bulk API: write one such as /INDEX/_bulk", a.Path)
	}
	return nil
}
