package discovery

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// maxYAML is the size of the longest YAML list, in bytes. While it is read, it takes some 100 times
// as much memory.
const maxYAML = 1 << 20

// decodeYAML reads a list of Prometheus'. It goes through the nodes of the document itself. The
// library's decoder compares each key of a mapping with every other one, which takes minutes if one
// mapping fills the file; and it leaves out elements that are null, as the last one of a list that
// is half written.
func decodeYAML(text []byte) ([]place, error) {
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return nil, errEmptyText
	case len(text) > maxYAML:
		return nil, fmt.Errorf("has %d bytes of YAML, and %d are the most", len(text), maxYAML)
	}
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("not a YAML list: %w", err)
	}
	if d.Decode(new(yaml.Node)) != io.EOF {
		return nil, errors.New("more than one YAML document")
	}
	list := followed(doc.Content[0])
	switch {
	case list.ShortTag() == "!!null":
		return nil, errors.New("the list is null: write [] for none")
	case list.Kind != yaml.SequenceNode:
		return nil, fmt.Errorf("not a YAML list: line %d", list.Line)
	}
	var places []place
	for i, element := range list.Content {
		more, err := placesOf(followed(element))
		switch {
		case err != nil:
			return nil, fmt.Errorf("element %d of the list, on line %d: %w", i+1, element.Line, err)
		case len(places)+len(more) > maxTargets: // the same ones again and again, by aliases
			return nil, fmt.Errorf("lists more than %d targets", maxTargets)
		}
		places = append(places, more...)
	}
	return places, nil
}

// placesOf returns the targets in an element of a list. Its labels and other keys have no meaning
// here.
func placesOf(element *yaml.Node) (places []place, err error) {
	var targets *yaml.Node
	for i := 0; element.Kind == yaml.MappingNode && i+1 < len(element.Content); i += 2 {
		switch {
		case element.Content[i].Value != "targets":
		case targets != nil:
			return nil, errors.New("has targets twice")
		default:
			targets = followed(element.Content[i+1])
		}
	}
	if targets == nil || targets.Kind != yaml.SequenceNode {
		return nil, errNoTargets
	}
	if len(targets.Content) > maxTargets {
		return nil, fmt.Errorf("lists %d targets, and %d are the most", len(targets.Content), maxTargets)
	}
	for _, t := range targets.Content {
		t = followed(t)
		if t.Kind != yaml.ScalarNode || t.ShortTag() == "!!null" {
			return nil, fmt.Errorf("no target on line %d: write HOST:PORT", t.Line)
		}
		places = append(places, place{text: t.Value})
	}
	return places, nil
}

// followed returns the node that an alias leads to, or the node itself.
func followed(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
