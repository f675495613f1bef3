package discovery

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"linesplit/internal/regfile"
)

const (
	// A file is read once it has been left alone for settleTime, at most maxSettle times later: it
	// may be written bit by bit, and half a YAML list is a list.
	settleTime = 400 * time.Millisecond
	maxSettle  = 10
)

var errUnsettled = errors.New("it does not stop changing")

// fileSource reads a list of Prometheus' file_sd, in JSON or YAML.
type fileSource struct {
	spec Spec
	seen fs.FileInfo // when it was last read
}

func (s *fileSource) lookup(ctx context.Context) (Answer, error) {
	text, err := s.read(ctx)
	if err != nil {
		return Answer{}, err
	}
	decode, err := decoderFor(s.spec.place)
	if err != nil {
		return Answer{}, err
	}
	places, err := decode(text)
	if err != nil {
		return Answer{}, err
	}
	return s.spec.answer(places)
}

// read returns the content once two readings have found the file in the same state, or the file is
// old.
func (s *fileSource) read(ctx context.Context) ([]byte, error) {
	var last fs.FileInfo
	for range maxSettle {
		s.seen = regfile.State(s.spec.place)
		text, info, err := regfile.Read(s.spec.place, maxList)
		if err != nil {
			return nil, err
		}
		age := time.Since(info.ModTime())
		if age > settleTime || last != nil && regfile.Same(last, info) {
			return text, nil
		}
		last = info
		if !pause(ctx, settleTime) {
			return nil, context.Cause(ctx)
		}
	}
	return nil, errUnsettled
}

// changed reports whether the file is another than the one that was read last, or has changed.
func (s *fileSource) changed() bool {
	now := regfile.State(s.spec.place)
	return !regfile.Same(now, s.seen)
}
