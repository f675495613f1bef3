package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"linesplit/target"
)

const (
	// maxTargets is the most targets that one source may list. A longer list is taken for a
	// mistake.
	maxTargets = 1000
	// maxList is the size of the longest list, in bytes.
	maxList = 4 << 20
)

// place is a target in a list, before it is parsed.
type place struct {
	text   string // HOST:PORT, perhaps with a scheme
	weight int    // 0 if the list has none
}

// answer makes an answer of the places in a list. If one of them is not a valid target, the answer
// has the others and is incomplete.
func (s Spec) answer(places []place) (Answer, error) {
	if len(places) > maxTargets {
		return Answer{}, fmt.Errorf("lists %d targets, and %d are the most", len(places), maxTargets)
	}
	var a Answer
	for _, p := range places {
		t, err := s.parse(p.text)
		if err != nil {
			a.Missing = fmt.Errorf("no target: %w", err)
			continue
		}
		if p.weight > 0 && s.template.Weight == 0 {
			t.Weight = min(p.weight, target.MaxWeight)
		}
		a.Targets = append(a.Targets, t)
	}
	return a.orMissing()
}

// decoderFor returns the decoder for a file by its extension.
func decoderFor(path string) (func([]byte) ([]place, error), error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		return decodeJSON, nil
	case ".yaml", ".yml":
		return decodeYAML, nil
	}
	return nil, fmt.Errorf("%s: the extension tells the format: .json, .yaml or .yml", filepath.Base(path))
}

// group is an element of a JSON list in the format of Prometheus. linesplit ignores its labels.
type group struct {
	Targets []*string // nil for null
}

// instance is an element of Consul's answer to /v1/health/service.
type instance struct {
	Node    struct{ Address string }
	Service *struct {
		Address string
		Port    int
		Weights struct{ Passing int }
	}
	Checks []struct{ Status string }
}

var errNoTargets = errors.New(`has no targets: write {"targets": ["HOST:PORT"]}`)

var errEmptyText = errors.New("the list is empty text, not even []: is it being written at the moment?")

// decodeJSON reads a list in the format of Prometheus or Consul.
func decodeJSON(text []byte) ([]place, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errEmptyText
	}
	var list []json.RawMessage
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("not a JSON list: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON list")
	}
	if list == nil {
		return nil, errors.New("the list is null: write [] for none")
	}
	var places []place
	for i, raw := range list {
		more, err := decodeElement(raw)
		if err != nil {
			return nil, fmt.Errorf("element %d of the list: %w", i+1, err)
		}
		places = append(places, more...)
	}
	return places, nil
}

// decodeElement reads an element of such a list.
func decodeElement(raw json.RawMessage) ([]place, error) {
	var i instance
	if err := json.Unmarshal(raw, &i); err == nil && i.Service != nil {
		return i.places()
	}
	var g group
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, err
	}
	return g.places()
}

// places returns the targets of the group.
func (g group) places() (places []place, err error) {
	if g.Targets == nil {
		return nil, errNoTargets
	}
	for _, t := range g.Targets {
		if t == nil {
			return nil, errors.New("a target is null: write \"HOST:PORT\"")
		}
		places = append(places, place{text: *t})
	}
	return places, nil
}

// places returns the address of the instance, or nothing if one of its checks is critical.
func (i instance) places() ([]place, error) {
	for _, c := range i.Checks {
		if c.Status == "critical" {
			return nil, nil
		}
	}
	host := i.Service.Address
	if host == "" { // as Consul's documentation says
		host = i.Node.Address
	}
	if host == "" {
		return nil, errors.New("neither the service nor its node has an address")
	}
	return []place{{net.JoinHostPort(host, strconv.Itoa(i.Service.Port)), i.Service.Weights.Passing}}, nil
}

// decodeOutput reads what a program prints: a JSON list, or one place a line, where # begins a
// comment.
func decodeOutput(text []byte) ([]place, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) && json.Valid(text) {
		return decodeJSON(text)
	}
	places := []place{}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			places = append(places, place{text: line})
		}
	}
	return places, nil
}
