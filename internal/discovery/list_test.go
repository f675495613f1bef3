package discovery

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLists(t *testing.T) {
	for _, test := range []struct {
		format, text string
		want         []string
		err          string // of the whole list, or what is missing
	}{
		{"json", `[{"targets":["a:1","b:2"],"labels":{"x":"y"}},{"targets":["tls://c:3"]}]`, []string{"tcp://a:1", "tcp://b:2", "tls://c:3"}, ""},
		{"json", `[]`, nil, ""},
		{"json", `[{"targets":[]}]`, nil, ""},
		{"json", ``, nil, "empty text"},
		{"json", ` `, nil, "empty text"},
		{"json", `null`, nil, "null"},
		{"json", `{}`, nil, "not a JSON list"},
		{"json", `[{"targets":["a:1"]}`, nil, "not a JSON list"},
		{"json", `[{"targets":["a:1"]}][]`, nil, "more than one"},
		{"json", `[{"target":["a:1"]}]`, nil, "element 1 of the list: has no targets"},
		{"json", `["a:1"]`, nil, "element 1"},
		{"json", `[{"targets":["a:1","b"]}]`, []string{"tcp://a:1"}, `"b": no port`},
		{"json", `[{"targets":["b"]}]`, nil, `"b": no port`},
		{"json", `[{"targets":["a:1?weight=2"]}]`, nil, "options belong to the source"},
		{"json", `[{"Node":{"Address":"10.0.0.1"},"Service":{"Port":80,"Weights":{"Passing":3}},"Checks":[{"Status":"passing"}]},
			{"Node":{"Address":"10.0.0.2"},"Service":{"Address":"10.1.0.2","Port":81}},
			{"Node":{"Address":"10.0.0.3"},"Service":{"Port":82},"Checks":[{"Status":"critical"}]}]`,
			[]string{"tcp://10.0.0.1:80?weight=3", "tcp://10.1.0.2:81"}, ""},
		{"json", `[{"Node":{},"Service":{"Port":80}}]`, nil, "neither the service nor its node"},
		{"yaml", "- targets: [a:1, 'b:2']\n  labels: {x: y}\n- targets:\n  - c:3\n", []string{"tcp://a:1", "tcp://b:2", "tcp://c:3"}, ""},
		{"yaml", "[]\n", nil, ""},
		{"yaml", "# nothing\n", nil, "not a YAML list"},
		{"yaml", "- targets: [a:1\n", nil, "not a YAML list"},
		{"yaml", "targets: [a:1]\n", nil, "not a YAML list"},
		{"yaml", "- targets: [a:1]\n---\n- targets: [b:1]\n", nil, "more than one"},
		{"output", "a:1 # the first\n\n# none\ntls://b:2\r\n", []string{"tcp://a:1", "tls://b:2"}, ""},
		{"output", "", nil, ""},
		{"output", ` [{"targets":["a:1"]}] `, []string{"tcp://a:1"}, ""},
		{"output", "[::1]:9\n", []string{"tcp://[::1]:9"}, ""},
		{"output", "no such thing\n", nil, "no such thing"},
	} {
		decode := map[string]func([]byte) ([]place, error){"json": decodeJSON, "yaml": decodeYAML, "output": decodeOutput}[test.format]
		var a Answer
		places, err := decode([]byte(test.text))
		if err == nil {
			a, err = mustSpec(t, "file:///x.json").answer(places)
		}
		if err == nil {
			err = a.Missing
		}
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s %s: %v, want %q", test.format, test.text, err, test.err)
		}
		if diff := cmp.Diff(test.want, written(a)); diff != "" {
			t.Errorf("%s %s: %s", test.format, test.text, diff)
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	places := make([]place, maxTargets+1)
	if _, err := mustSpec(t, "file:///x.json").answer(places); err == nil || !strings.Contains(err.Error(), "lists 1001 targets") {
		t.Error(err)
	}
}

func FuzzLists(f *testing.F) {
	f.Add([]byte(`[{"targets":["a:1"]},{"Node":{"Address":"h"},"Service":{"Port":1}}]`))
	f.Add([]byte("- targets: [a:1]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := mustSpec(t, "file:///x.json")
		for _, decode := range []func([]byte) ([]place, error){decodeJSON, decodeYAML, decodeOutput} {
			places, err := decode(text)
			if err != nil {
				continue
			}
			a, err := s.answer(places)
			if err == nil && a.Missing == nil && len(a.Targets) != len(places) {
				t.Errorf("%q: %d places, %d targets", text, len(places), len(a.Targets))
			}
		}
	})
}
