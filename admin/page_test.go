package admin

import (
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pageTypes maps the page's files to their content types.
var pageTypes = map[string]string{
	"index.html": "text/html; charset=utf-8",
	"app.js":     "text/javascript; charset=utf-8",
	"style.css":  "text/css; charset=utf-8",
	"icon.svg":   "image/svg+xml",
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(pageFiles, "page/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPageFilesAreServed(t *testing.T) {
	files, err := fs.ReadDir(pageFiles, "page")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(pageTypes) {
		t.Errorf("%d files, want %d", len(files), len(pageTypes))
	}
	s := New(Options{Control: &fake{}})
	for _, file := range files {
		path := "/" + file.Name()
		if path == "/index.html" {
			path = "/"
		}
		r := ask(s, "GET", path, "", "")
		if r.StatusCode != http.StatusOK || body(t, r) != readPage(t, file.Name()) {
			t.Errorf("%s: %s, or other bytes than the file's", path, r.Status)
		}
		for header, want := range map[string]string{
			"Content-Type":            pageTypes[file.Name()],
			"Content-Security-Policy": contentPolicy,
			"X-Content-Type-Options":  "nosniff",
			"Cache-Control":           "no-cache",
		} {
			if got := r.Header.Get(header); got != want {
				t.Errorf("%s: %s %q, want %q", path, header, got, want)
			}
		}
	}
	if r := ask(s, "POST", "/", "application/json", "{}"); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST / got %s", r.Status)
	}
	if r := ask(s, "GET", "/nothing", "", ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("GET /nothing got %s", r.Status)
	}
}

// A policy that allows inline scripts or styles would not protect the page.
func TestPagePolicyIsStrict(t *testing.T) {
	for _, want := range []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
		"base-uri 'none'", "frame-ancestors 'none'",
	} {
		if !strings.Contains(contentPolicy, want) {
			t.Errorf("no %q in %q", want, contentPolicy)
		}
	}
	for _, bad := range []string{"unsafe", "*", "http", "data:"} {
		if strings.Contains(contentPolicy, bad) {
			t.Errorf("%q in %q", bad, contentPolicy)
		}
	}
}

// Inline code would not run under the policy, and other hosts may be unreachable.
func TestPageHasNothingInline(t *testing.T) {
	for _, e := range elements(t, readPage(t, "index.html")) {
		switch {
		case e.name == "style", e.name == "base", e.name == "iframe", e.name == "object", e.name == "embed":
			t.Errorf("<%s>", e.name)
		case e.name == "script" && (e.attributes["src"] == "" || strings.TrimSpace(e.text) != ""):
			t.Errorf("an inline script: %q", e.text)
		}
		for name, value := range e.attributes {
			switch {
			case name == "style", strings.HasPrefix(name, "on"):
				t.Errorf("<%s> has %s=%q", e.name, name, value)
			case strings.Contains(strings.ToLower(value), "script:"):
				t.Errorf("<%s %s=%q>", e.name, name, value)
			}
		}
	}
}

func TestPageLinksToItsServerOnly(t *testing.T) {
	s := New(Options{Control: &fake{}})
	for _, e := range elements(t, readPage(t, "index.html")) {
		for _, name := range []string{"src", "href"} {
			link := e.attributes[name]
			if link == "" || strings.HasPrefix(link, "#") {
				continue
			}
			// Links must be relative, since a proxy may serve the page under a prefix.
			if strings.HasPrefix(link, "/") || strings.Contains(link, ":") {
				t.Errorf("<%s %s=%q> is absolute", e.name, name, link)
			}
			if r := ask(s, "GET", "/"+link, "", ""); r.StatusCode != http.StatusOK {
				t.Errorf("<%s %s=%q>: %s", e.name, name, link, r.Status)
			}
		}
	}
	// The namespace is only a name: browsers do not fetch it.
	namespace := regexp.MustCompile(`^(<svg [^>]*)xmlns="http://www\.w3\.org/2000/svg"`)
	elsewhere := regexp.MustCompile(`(?i)\b(https?|wss?|ftp|data|blob):|["'(]//|@import|url\(`)
	for name := range pageTypes {
		if found := elsewhere.FindString(namespace.ReplaceAllString(readPage(t, name), "$1")); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	}
}

// Names and errors are untrusted: the script must insert them as text only, and set styles by
// classes only.
func TestPageScriptWritesTextOnly(t *testing.T) {
	bad := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc|setHTML|` +
		`\beval\b|new Function|set(?:Timeout|Interval)\(\s*["'` + "`" + `]|\.style\b|\.on[a-z]+\s*=|localStorage|indexedDB|document\.cookie`)
	if found := bad.FindString(readPage(t, "app.js")); found != "" {
		t.Errorf("app.js has %q", found)
	}
	keptByToken := regexp.MustCompile(`sessionStorage[^;]*token`)
	if found := keptByToken.FindString(readPage(t, "app.js")); found != "" {
		t.Errorf("the token is stored: %q", found)
	}
}

// The script and the labels refer to elements by their ids.
func TestPageIDsMatch(t *testing.T) {
	all := elements(t, readPage(t, "index.html"))
	var ids []string
	for _, e := range all {
		if id := e.attributes["id"]; id != "" {
			if slices.Contains(ids, id) {
				t.Errorf("id %q twice", id)
			}
			ids = append(ids, id)
		}
	}
	for _, e := range all {
		for _, name := range []string{"for", "aria-labelledby", "aria-describedby"} {
			if id, has := e.attributes[name]; has && !slices.Contains(ids, id) {
				t.Errorf("<%s %s=%q>: there is no such id", e.name, name, id)
			}
		}
	}
	for _, match := range regexp.MustCompile(`byId\('([^']+)'\)`).FindAllStringSubmatch(readPage(t, "app.js"), -1) {
		if !slices.Contains(ids, match[1]) {
			t.Errorf("app.js asks for %q, which is not in index.html", match[1])
		}
	}
}

// element is an element of the page, with its own text but without that of its children.
type element struct {
	name       string
	attributes map[string]string
	text       string
}

// elements parses HTML that is valid XML except for its doctype.
func elements(t *testing.T, html string) (all []*element) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(html))
	var open []*element
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: strings.ToLower(token.Name.Local), attributes: map[string]string{}}
			for _, a := range token.Attr {
				e.attributes[strings.ToLower(a.Name.Local)] = a.Value
			}
			all, open = append(all, e), append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(token)
			}
		}
	}
}

// A path that is no valid file name was an internal error.
func TestNoPathIsAnInternalError(t *testing.T) {
	s := New(Options{Control: &fake{err: ErrUnknown}, Profiling: true})
	for _, path := range []string{
		"/%ff", "/a%00b", "/page", "/app.js/", "/index.html/..%2f..", "/%2e%2e/%2e%2e/etc/passwd", "/app.js%ff", "//", "/.",
		apiPrefix + "/targets/%ff", apiPrefix + "/targets/%00", apiPrefix + "/%ff", apiPrefix + "/connections?limit=%ff",
		"/metrics/%ff", "/debug/pprof/%ff", "/debug/pprof/symbol?%ff", "/debug/pprof/heap?debug=%ff",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "%FF"} {
			if r := ask(s, method, path, "", ""); r.StatusCode >= 500 {
				t.Errorf("%s %s: %s", method, path, r.Status)
			}
		}
	}
}
