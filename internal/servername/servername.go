// Package servername reads and matches the names that TLS clients ask for (RFC 6066, SNI).
package servername

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxName  = 253 // bytes of a name, without a trailing dot (RFC 1035)
	maxLabel = 63

	wildcard = "*."
)

// toASCII turns a name in Unicode into A-labels as programs do that look names up.
var toASCII = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))

// Parse reads a name such as example.com, or a wildcard such as *.example.com, which stands for
// names with exactly one label in place of the asterisk. It returns the name as a [Table] has it:
// in lower case, in A-labels (xn--…) and without a trailing dot. Its errors tell the right form.
func Parse(text string) (string, error) {
	name, err := parse(text)
	if err != nil {
		return "", fmt.Errorf("%q: %w", text, err)
	}
	return name, nil
}

func parse(text string) (string, error) {
	host, isWildcard := strings.CutPrefix(text, wildcard)
	host = strings.TrimSuffix(host, ".")
	switch {
	case text == "":
		return "", errors.New("empty: write a name, such as www.example.com or *.example.com")
	case strings.Contains(host, "*"):
		return "", errors.New("an asterisk may only stand for the whole first label: write *.example.com")
	case strings.Contains(host, "/"):
		return "", errors.New("not a name: write the host alone, such as www.example.com")
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return "", errors.New("an address: clients that connect to an address name no server")
	}
	if strings.Contains(host, ":") {
		return "", errors.New("a port: write the host alone, such as www.example.com")
	}
	if !utf8.ValidString(host) {
		return "", errors.New("not a name: it is not UTF-8")
	}
	ascii, err := toASCII.ToASCII(host)
	if err == nil {
		_, err = toASCII.ToASCII(ascii) // some of its results are not A-labels
	}
	if err != nil {
		return "", fmt.Errorf("not a name: %w", err)
	}
	host = lower(strings.TrimSuffix(ascii, ".")) // IDNA knows other dots, too
	if err := check(host); err != nil {
		return "", err
	}
	if isWildcard {
		host = wildcard + host
	}
	return host, nil
}

// check checks a name in A-labels. Underscores are common in names of services.
func check(host string) error {
	if len(host) > maxName {
		return fmt.Errorf("a name of %d bytes: the limit is %d", len(host), maxName)
	}
	for label := range strings.SplitSeq(host, ".") {
		switch {
		case label == "":
			return errors.New("an empty label: write a name, such as www.example.com or *.example.com")
		case len(label) > maxLabel:
			return fmt.Errorf("a label of %d bytes: the limit is %d", len(label), maxLabel)
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return fmt.Errorf("the character %q is not allowed in a name", c)
			}
		}
	}
	return nil
}

// Table holds values by names as Parse returns them.
type Table[T any] map[string]T

// Lookup returns the value for the name that a client asks for: that of the name itself, or else
// that of the wildcard for it. Upper and lower case do not differ, and a trailing dot is ignored.
// Clients write names of other scripts in A-labels.
func (t Table[T]) Lookup(name string) (value T, ok bool) {
	name = lower(strings.TrimSuffix(name, "."))
	if value, ok = t[name]; ok {
		return value, true
	}
	label, parent, found := strings.Cut(name, ".")
	if !found || label == "" {
		return value, false
	}
	value, ok = t[wildcard+parent]
	return value, ok
}

// lower changes the case of ASCII letters alone. Unicode has letters whose lower case is ASCII.
func lower(name string) string {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			b := []byte(name)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return name
}
