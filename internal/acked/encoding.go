package acked

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// encoding compresses the bodies of requests. The zero value leaves them as they are.
type encoding struct {
	name   string // as in Content-Encoding; empty: none
	writer compressor
	out    bytes.Buffer
}

// compressor is a *gzip.Writer, *zlib.Writer or *zstd.Encoder.
type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// newEncoding returns the encoding with the given name, gzip, zlib or zstd, or none. The levels are
// those that compress NDJSON at the highest speed; docs/performance.md has measurements.
func newEncoding(name string) encoding {
	e := encoding{name: name}
	switch name {
	case "gzip":
		e.writer, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	case "zlib":
		e.writer, _ = zlib.NewWriterLevel(nil, zlib.BestSpeed) // the level is valid
	case "zstd":
		e.writer, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(1<<20)) // the options are valid
	}
	return e
}

// encode returns data as it is sent. The result is valid until the next call.
func (e *encoding) encode(data []byte) ([]byte, error) {
	if e.writer == nil {
		return data, nil
	}
	e.out.Reset()
	e.writer.Reset(&e.out)
	if _, err := e.writer.Write(data); err != nil {
		return nil, err
	}
	if err := e.writer.Close(); err != nil {
		return nil, err
	}
	return e.out.Bytes(), nil
}
