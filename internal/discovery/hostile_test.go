package discovery

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hostile are documents of some hundred kilobytes that make a careless reader work, or say, too
// much.
func hostile() map[string]string {
	many := strings.Repeat
	keys := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	return map[string]string{
		"nested lists":               many("[", 125_000) + many("]", 125_000),
		"nested elements":            many(`[{"targets":`, 25_000),
		"nested blocks":              many("- ", 25_000),
		"open brackets":              many("[", 100_000),
		"aliases of aliases":         "- &a [x:1,x:1]\n" + keys(30, "- &b%[1]d [*a,*a]\n") + "- targets: [*b29]\n",
		"an alias of itself":         "- &a {targets: *a}\n",
		"the same targets":           "- targets: &a [" + many("'x:1',", 900) + "]\n" + many("- targets: *a\n", 50_000),
		"a key again and again":      "[{" + many(`"targets":[],`, 15_000) + `"targets":[]}]`,
		"many keys":                  "- targets: ['a:1']\n" + keys(50_000, "  k%d: 1\n"),
		"many labels":                "- targets: ['a:1']\n  labels:\n" + keys(15_000, "    k%d: 1\n"),
		"wrong elements":             many("- 1\n", 25_000),
		"elements that are null":     "[" + many("null,", 15_000) + "null]",
		"elements without targets":   "[" + many(`{"targets":[]},`, 15_000) + `{"targets":[]}]`,
		"too many targets":           `[{"targets":[` + many(`"a:1",`, 25_000) + `"b:1"]}]`,
		"too many instances":         "[" + many(`{"Service":{"Port":1},"Node":{"Address":"h"}},`, 20_000) + `{"targets":[]}]`,
		"a long name":                `[{"targets":["` + many("x", 100_000) + `:1"]}]`,
		"a long port":                `[{"targets":["x:` + many("1", 100_000) + `"]}]`,
		"a long scheme":              `[{"targets":["` + many("x", 100_000) + `://x:1"]}]`,
		"a long number":              `[{"Service":{"Port":` + many("9", 100_000) + `}}]`,
		"a long text for a list":     `[{"targets":"` + many("9", 100_000) + `"}]`,
		"an alias of a long name":    "- targets: *" + many("9", 75_000) + "\n",
		"a tag again and again":      many("!!a ", 25_000),
		"lines":                      many("x\n", 125_000),
		"control characters":         `[{"targets":["` + many(`\u001b\n`, 25_000) + `"]}]`,
		"bytes that are no text":     "[" + many("\xff\x00", 25_000),
		"a document after the first": "[]\n---\n" + many("- a\n", 15_000),
	}
}

// A list could make linesplit work for minutes on a YAML mapping with very many keys, for which
// shutdown waited, or fill the log and the status with an error of 30 MB.
func TestHostileLists(t *testing.T) {
	for name, text := range hostile() {
		for kind, decode := range map[string]func([]byte) ([]place, error){"json": decodeJSON, "yaml": decodeYAML, "output": decodeOutput} {
			places, err := decode([]byte(text))
			var a Answer
			if err == nil {
				a, err = mustSpec(t, "file:///x.json").answer(places)
			}
			if err == nil {
				err = a.Missing
			}
			if err != nil {
				if said := errorText(err); len(said) > maxErrorText+len("…") || strings.ContainsAny(said, "\n\x1b") {
					t.Errorf("%s as %s: an error of %d bytes: %.300q", name, kind, len(said), said)
				}
			}
			if len(a.Targets) > maxTargets {
				t.Errorf("%s as %s: %d targets", name, kind, len(a.Targets))
			}
		}
	}
}

// What a server has sent may be in the error of a lookup.
func TestErrorsAreShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDriverRig(t)
		r.src.set(Answer{}, errors.New(strings.Repeat("\x1b[2J\n", 1_000_000)))
		stop := r.run(t)
		time.Sleep(time.Minute)
		stop()
		said := r.log.String()
		if st := r.Status(); len(st) > 0 || strings.Count(said, "\n") != 1 || len(said) > 2*maxErrorText || strings.Contains(said, "\x1b") {
			t.Errorf("%v\n%.2000s", st, said)
		}
	})
}

// A list that is half written often ends with an element or a target that is null.
func TestListsWithNullAreNoAnswers(t *testing.T) {
	for _, text := range []string{
		"- targets: [a:1]\n-\n", "- targets:\n  - a:1\n  -\n", "- targets:\n", "[null]", `[{"targets":[null]}]`, `[{"targets":null}]`,
	} {
		for kind, decode := range map[string]func([]byte) ([]place, error){"json": decodeJSON, "yaml": decodeYAML} {
			if places, err := decode([]byte(text)); err == nil {
				t.Errorf("%s %q: %v", kind, text, places)
			}
		}
	}
}
