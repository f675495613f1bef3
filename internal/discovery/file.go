package discovery

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"time"

	"linesplit/internal/regfile"
)

const (
	// settleTime is the time for which a file must not have changed before its content counts. A
	// program may write it bit by bit, and the first half of a YAML list is a valid list.
	settleTime = 400 * time.Millisecond
	// maxSettle is the number of readings after which a lookup of a changing file fails.
	maxSettle = 10
)

var errUnsettled = errors.New("it does not stop changing")

// fileSource reads a list in the format of Prometheus' file_sd, JSON or YAML.
type fileSource struct {
	spec Spec
	seen fs.FileInfo // state of the file at the last reading
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

// read returns the content once the file has not changed for settleTime, or has the same content
// after that although it has been replaced.
func (s *fileSource) read(ctx context.Context) ([]byte, error) {
	var last fs.FileInfo
	var before []byte
	for range maxSettle {
		s.seen = regfile.State(s.spec.place)
		text, info, err := regfile.Read(s.spec.place, maxList)
		if err != nil {
			return nil, err
		}
		age := time.Since(info.ModTime())
		if age > settleTime || last != nil && (regfile.Same(last, info) || bytes.Equal(before, text)) {
			return text, nil
		}
		last, before = info, text
		if !pause(ctx, settleTime) {
			return nil, context.Cause(ctx)
		}
	}
	return nil, errUnsettled
}

// changed reports whether the file was changed or replaced since the last reading.
func (s *fileSource) changed() bool {
	now := regfile.State(s.spec.place)
	return !regfile.Same(now, s.seen)
}
