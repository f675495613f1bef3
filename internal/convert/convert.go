// Package convert turns the configuration of another load balancer into one for linesplit, in TOML.
// Each origin has a reader of its own, which fills a document; one writer prints it. Lines without
// a counterpart become comments.
package convert

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxSize is the largest input that Convert takes, in bytes.
const MaxSize = 1 << 20

// The limits of a result. They keep a small input from becoming a large output: HAProxy's
// frontends may share a backend, and a port range is one listener for each port.
const (
	maxServices  = 1000
	maxAddresses = 20_000  // listeners and targets of all services together
	maxLines     = 500_000 // lines of HAProxy's proxies; a shared line counts once for each proxy
	maxOutput    = 1 << 20 // bytes; linesplit reads no larger file
)

// Origin names a load balancer whose configuration Convert reads.
type Origin string

// The origins.
const (
	Gobetween Origin = "gobetween"
	HAProxy   Origin = "haproxy"
	Mixctl    Origin = "mixctl"
)

// originNames are the origins as their authors write them.
var originNames = map[Origin]string{Gobetween: "gobetween", HAProxy: "HAProxy", Mixctl: "mixctl"}

// Origins returns all origins, sorted.
func Origins() []Origin { return []Origin{Gobetween, HAProxy, Mixctl} }

// Input is a configuration to convert.
type Input struct {
	Name   string // name of the file, for comments and to detect the origin
	Text   []byte // at most MaxSize bytes of UTF-8
	Origin Origin // empty: detected from the name and the text

	// Env looks up a variable of the environment, which HAProxy's configuration may refer to. Nil
	// stands for an empty environment.
	Env func(name string) (value string, found bool)
}

// Result is a converted configuration.
type Result struct {
	TOML     []byte // the configuration for linesplit
	Origin   Origin // as given, or as detected
	Services int    // number of services in TOML, at least 1
	Missing  int    // lines of the input that have no counterpart, whole or in part
}

// Convert returns a linesplit configuration that does what in describes, as far as linesplit can.
// The error names the line of a fault in the input, where it has one.
func Convert(in Input) (Result, error) {
	switch {
	case len(in.Text) > MaxSize:
		return Result{}, fmt.Errorf("larger than %d bytes", MaxSize)
	case !utf8.Valid(in.Text):
		return Result{}, errors.New("not text in UTF-8")
	case bytes.IndexByte(in.Text, 0) >= 0:
		return Result{}, errors.New("not text: it contains NUL bytes")
	}
	in.Text = bytes.TrimPrefix(in.Text, []byte("\ufeff"))
	if in.Origin == "" {
		in.Origin = detect(in.Name, in.Text)
	}
	if in.Env == nil {
		in.Env = func(string) (string, bool) { return "", false }
	}
	d := newDocument(in)
	var err error
	switch in.Origin {
	case Gobetween:
		err = readGobetween(d, in.Text)
	case HAProxy:
		err = readHAProxy(d, in)
	case Mixctl:
		err = readMixctl(d, in.Text)
	default:
		return Result{}, fmt.Errorf("unknown origin %q", in.Origin)
	}
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return Result{}, fmt.Errorf("as a configuration of %s: %w", originNames[in.Origin], err)
	}
	d.hoist()
	text := d.write()
	if len(text) > maxOutput {
		return Result{}, fmt.Errorf("the result has %d bytes, and linesplit reads files of at most %d", len(text), maxOutput)
	}
	return Result{TOML: text, Origin: in.Origin, Services: len(d.services), Missing: len(d.missed)}, nil
}

// detect guesses the origin from the extension of the file's name, or else from the first line that
// is not a comment.
func detect(name string, text []byte) Origin {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".toml":
		return Gobetween
	case ".yaml", ".yml":
		return Mixctl
	case ".cfg":
		return HAProxy
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		switch {
		case len(fields) == 0 || bytes.HasPrefix(fields[0], []byte("#")):
			continue
		case bytes.HasPrefix(fields[0], []byte("[")), slices.ContainsFunc(fields, isEqualSign):
			return Gobetween
		case bytes.HasSuffix(fields[0], []byte(":")), bytes.Equal(fields[0], []byte("---")):
			return Mixctl
		}
		break
	}
	return HAProxy
}

func isEqualSign(field []byte) bool { return bytes.Equal(field, []byte("=")) }
