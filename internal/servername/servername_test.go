package servername

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	for text, want := range map[string]string{
		"example.com":        "example.com",
		"Example.COM.":       "example.com",
		"*.Example.com":      "*.example.com",
		"localhost":          "localhost",
		"_imap.example.com":  "_imap.example.com",
		"bücher.example":     "xn--bcher-kva.example",
		"*.BÜCHER.example":   "*.xn--bcher-kva.example",
		"xn--bcher-kva.de":   "xn--bcher-kva.de",
		"bücher。example":     "xn--bcher-kva.example",
		long + ".example":    long + ".example",
		"1.example.2":        "1.example.2",
		"a-b--c.example.com": "a-b--c.example.com",
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	for text, want := range map[string]string{
		"":                                "empty",
		"*":                               "asterisk",
		"*.":                              "empty label",
		".":                               "empty label",
		"a..b":                            "empty label",
		".example.com":                    "empty label",
		"*.*.example.com":                 "asterisk",
		"www.*.com":                       "asterisk",
		"w*.example.com":                  "asterisk",
		"10.0.0.1":                        "an address",
		"::1":                             "an address",
		"[::1]":                           "an address",
		"example.com:443":                 "a port",
		"https://example.com":             "the host alone",
		"a b.example":                     "not allowed",
		long + "a.example":                "label of 64",
		strings.Repeat("a.", 126) + "a.a": "255 bytes",
		"xn--a.example":                   "not a name",
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %q, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestLookup(t *testing.T) {
	table := Table[string]{}
	for _, text := range []string{"example.com", "www.example.com", "*.example.com", "*.a.example.com", "*.com", "k.example"} {
		name, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		table[name] = text
	}
	for name, want := range map[string]string{
		"example.com":          "example.com", // before *.com
		"EXAMPLE.com":          "example.com",
		"example.com.":         "example.com",
		"www.example.com":      "www.example.com", // before *.example.com
		"x.example.com":        "*.example.com",
		"a.example.com":        "*.example.com",
		"x.a.example.com":      "*.a.example.com",
		"x.y.example.com":      "", // two labels
		".example.com":         "", // no label
		"other.com":            "*.com",
		"com":                  "",
		"":                     "",
		".":                    "",
		"example.com..":        "",
		"\u212a.example":       "", // KELVIN SIGN, whose lower case in Unicode is k
		"www.example.com\x00":  "",
		"*.b.example.com":      "",
		"x.example.com:443":    "",
		"www.example.com/path": "",
	} {
		if got, _ := table.Lookup(name); got != want {
			t.Errorf("Lookup(%q) = %q, want %q", name, got, want)
		}
	}
}

// naive is Lookup by the words of its comment: it looks at every name, exact ones first.
func naive(table Table[string], name string) string {
	name = strings.TrimSuffix(name, ".")
	for known, value := range table {
		if !strings.HasPrefix(known, wildcard) && equal(known, name) {
			return value
		}
	}
	for known, value := range table {
		labels, parent := strings.SplitN(name, ".", 2), strings.TrimPrefix(known, wildcard)
		if parent != known && len(labels) == 2 && labels[0] != "" && equal(parent, labels[1]) {
			return value
		}
	}
	return ""
}

func equal(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && !('A' <= b[i] && b[i] <= 'Z' && a[i] == b[i]|0x20) {
			return false
		}
	}
	return true
}

func FuzzLookup(f *testing.F) {
	f.Add("a.example.com, *.example.com", "A.example.com.")
	f.Add("*.b.c", "x.b.c")
	f.Add("bücher.de,*.de", "xn--bcher-kva.de")
	f.Fuzz(func(t *testing.T, names, client string) {
		table := Table[string]{}
		for text := range strings.SplitSeq(names, ",") {
			name, err := Parse(strings.TrimSpace(text))
			if err != nil {
				continue
			}
			if again, err := Parse(name); err != nil || again != name {
				t.Fatalf("Parse(%q) = %q, which Parse reads as %q, %v", text, name, again, err)
			}
			table[name] = name
		}
		if got, _ := table.Lookup(client); got != naive(table, client) {
			t.Errorf("Lookup(%q) in %v = %q, want %q", client, table, got, naive(table, client))
		}
	})
}
