package httpsource

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	gzipMemory  = 64 << 10 // of a reader, in bytes
	zstdMemory  = 512 << 10
	leastWindow = 1 << 20 // of zstd; frames behind the first may have that much, too
	mostWindow  = 8 << 20 // RFC 8878 recommends that decoders support it
)

// errDecode is the error for a body that is not what its Content-Encoding says.
type errDecode struct{ error }

// errEncoding is the error for a Content-Encoding that is not known.
var errEncoding = errors.New("not supported")

// source reads the bytes of a request as they come, and remembers why that has failed: decoders
// return errors of their own.
type source struct {
	io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// decode returns a reader of what is encoded in r. done ends its use. The memory of a decoder
// counts as that of a body.
func (c *body) decode(encoding string, r *source) (decoded io.Reader, done func(), err error) {
	switch encoding {
	case "", "identity":
		return r, func() {}, nil
	case "gzip", "x-gzip":
		return c.gunzip(r)
	case "zstd":
		return c.unzstd(r)
	}
	return nil, nil, errEncoding
}

func (c *body) gunzip(r *source) (io.Reader, func(), error) {
	done, err := c.charge(gzipMemory)
	if err != nil {
		return nil, nil, err
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		done()
		return nil, nil, c.decodeError(r, err)
	}
	return decoding{c, r, z}, done, nil
}

// unzstd reads the size of the window from the header of the first frame, since that is most of the
// memory of a decoder.
func (c *body) unzstd(r *source) (io.Reader, func(), error) {
	peek := bufio.NewReaderSize(r, 4<<10)
	head, err := peek.Peek(zstd.HeaderMaxSize)
	var h zstd.Header
	if len(head) == 0 || r.err != nil {
		return nil, nil, c.decodeError(r, err)
	}
	if err := h.Decode(head); err != nil {
		return nil, nil, c.decodeError(r, err)
	}
	most := uint64(min(mostWindow, c.s.room.limit/decoderOfBodies))
	window := max(h.WindowSize, min(leastWindow, most))
	if h.Skippable {
		window = most
	}
	if window > most {
		return nil, nil, errDecode{fmt.Errorf("its window has %d bytes, and may have %d", h.WindowSize, most)}
	}
	done, err := c.charge(int64(window) + zstdMemory)
	if err != nil {
		return nil, nil, err
	}
	z, err := zstd.NewReader(peek, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(max(window, uint64(c.max)+1)))
	if err != nil {
		done()
		return nil, nil, c.decodeError(r, err)
	}
	return decoding{c, r, z}, func() { z.Close(); done() }, nil
}

// charge counts the memory of a decoder.
func (c *body) charge(n int64) (done func(), err error) {
	if err := c.take(n); err != nil {
		return nil, err
	}
	c.s.o.Pool.Charge(n)
	return func() {
		c.s.o.Pool.Charge(-n)
		c.taken -= n
		c.s.room.give(n)
	}, nil
}

// decodeError returns why a decoder has failed: the source has, or what comes from it is wrong.
func (c *body) decodeError(r *source, err error) error {
	if r.err != nil {
		return r.err
	}
	return errDecode{err}
}

// decoding is a decoder with errors that tell whose fault they are.
type decoding struct {
	body   *body
	source *source
	from   io.Reader
}

// Read implements io.Reader.
func (d decoding) Read(p []byte) (int, error) {
	n, err := d.from.Read(p)
	if err != nil && err != io.EOF {
		err = d.body.decodeError(d.source, err)
	}
	return n, err
}
