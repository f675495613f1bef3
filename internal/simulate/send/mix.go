package send

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind is a kind of client.
type Kind string

// The kinds of clients. Clients with a number of lines to send close when they have sent them;
// all others stay until the end.
const (
	Stream        Kind = "stream"          // a log shipper: sends lines as fast as Options.Rate allows
	Request       Kind = "request"         // sends a line, waits for a line that acknowledges it, and repeats
	FireAndForget Kind = "fire-and-forget" // sends one line and disconnects
	Idle          Kind = "idle"            // connects, sends nothing, and holds the connection until the end
	Slow          Kind = "slow"            // sends lines byte by byte
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{Stream, Request, FireAndForget, Idle, Slow} }

// maxWeight keeps sums of weights far below overflow.
const maxWeight = 1_000_000

// Mix is the share of each kind among the clients, in proportion to the weights. An empty Mix is
// Stream alone.
type Mix []Share

// Share is one kind of a Mix.
type Share struct {
	Kind   Kind
	Weight int // from 1 to 1,000,000
}

// ParseMix parses a list such as "stream=15,request=50". A kind without a number has the weight
// 1. The error lists all faults.
func ParseMix(text string) (Mix, error) {
	var m Mix
	var errs []error
	for entry := range strings.SplitSeq(text, ",") {
		share, err := parseShare(strings.TrimSpace(entry))
		if err == nil && m.has(share.Kind) {
			err = fmt.Errorf("%s is given twice", share.Kind)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m = append(m, share)
	}
	return m, errors.Join(errs...)
}

func parseShare(entry string) (Share, error) {
	name, weight, hasWeight := strings.Cut(entry, "=")
	s := Share{Kind: Kind(name), Weight: 1}
	if !slices.Contains(Kinds(), s.Kind) {
		return Share{}, fmt.Errorf("unknown kind %q: known are stream, request, fire-and-forget, idle and slow", name)
	}
	if hasWeight {
		n, err := strconv.Atoi(weight)
		if err != nil || n < 1 || n > maxWeight {
			return Share{}, fmt.Errorf("weight %q of %s: write a number from 1 to %d", weight, name, maxWeight)
		}
		s.Weight = n
	}
	return s, nil
}

func (m Mix) has(k Kind) bool {
	return slices.ContainsFunc(m, func(s Share) bool { return s.Kind == k })
}

// onlyIdle reports whether all clients are idle.
func (m Mix) onlyIdle() bool {
	return !slices.ContainsFunc(m, func(s Share) bool { return s.Kind != Idle })
}

// shareOf returns a kind's share of n, rounded up.
func (m Mix) shareOf(k Kind, n int) int {
	weight, total := 0, 0
	for _, s := range m {
		total += s.Weight
		if s.Kind == k {
			weight = s.Weight
		}
	}
	return (weight*n + total - 1) / total
}

// picker chooses the kinds of clients one by one, as evenly as the weights allow: among any
// number of clients in a row, each kind has its share, give or take one. It belongs to one
// goroutine.
type picker struct {
	mix    Mix
	credit []int
}

func newPicker(m Mix) *picker { return &picker{mix: m, credit: make([]int, len(m))} }

// next returns one of the kinds for which room returns true. There must be one.
func (p *picker) next(room func(Kind) bool) Kind {
	best, total := -1, 0
	for i, s := range p.mix {
		if !room(s.Kind) {
			continue
		}
		p.credit[i] += s.Weight
		total += s.Weight
		if best < 0 || p.credit[i] > p.credit[best] {
			best = i
		}
	}
	p.credit[best] -= total
	return p.mix[best].Kind
}
