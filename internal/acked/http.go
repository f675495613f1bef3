package acked

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/target"
)

const (
	// maxAnswer is how many bytes of an answer that is for people are read.
	maxAnswer = 64 << 10
	// maxQuoted is how many bytes of it stand in logs and beside refused lines.
	maxQuoted = 300
	// writeBuffer is how many bytes go out by one write(2). net/http's default, 4 KiB, takes twice
	// the processor time.
	writeBuffer = 64 << 10
)

// httpSender sends lines in the bodies of POST requests, over one connection at a time. A server
// that ends a connection that is idle is no fault: the next request makes another one.
type httpSender struct {
	address   target.Address
	limits    target.Batching
	url       *url.URL
	headers   http.Header
	conns     *firstConn
	transport *http.Transport
	encoding  encoding
	token     *token // nil: none
	rejects   *Rejects
	largest   int // bytes of the most lines that the server may take at a time, as far as it has said

	// Append the lines of a part as they are sent, and judge what an answer with status 2xx says of
	// them; nil: they are sent as they are, and all are delivered.
	body    func(b []byte, p Part) []byte
	judge   func(p Part, r io.Reader) (account, error)
	scratch []byte // what body has returned last
}

// account is what has become of lines that were sent together; the others are delivered.
type account struct {
	refused []Refused
	again   Batch  // those that are to be sent again
	reason  string // of that, for people
}

// newHTTPSender returns a sender over connections of conns.
func newHTTPSender(a target.Address, conns *firstConn, o *Options) *httpSender {
	limits := a.Batching.WithDefaults()
	s := &httpSender{
		address: a, limits: limits, url: a.RequestURL(), headers: http.Header{}, conns: conns,
		encoding: newEncoding(limits.Compress), token: newToken(limits.TokenFile), rejects: o.Rejects,
		largest: limits.Bytes,
	}
	for header := range strings.Lines(limits.Headers) {
		name, value, _ := strings.Cut(strings.TrimSuffix(header, "\n"), ":")
		s.headers.Add(name, strings.TrimSpace(value))
	}
	for name, value := range map[string]string{"User-Agent": "linesplit/" + o.Version, "Content-Type": "application/x-ndjson"} {
		if s.headers.Get(name) == "" {
			s.headers.Set(name, value)
		}
	}
	s.transport = &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return conns.next(ctx) },
		MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, DisableCompression: true,
		WriteBufferSize: writeBuffer, MaxResponseHeaderBytes: maxAnswer,
	}
	return s
}

// Close implements Sender.
func (s *httpSender) Close() {
	s.transport.CloseIdleConnections()
	s.conns.close()
}

// Send implements Sender. Lines that the server refuses together are sent in halves, until each of
// those that it refuses stands alone.
func (s *httpSender) Send(ctx context.Context, p Part) ([]Refused, error) {
	var refused []Refused
	left, all, sent := []Part{p}, p, false // left is in reverse order
	var patience patience
	for len(left) > 0 {
		p := left[len(left)-1]
		if len(p.Bytes) > s.largest && p.Lines > 1 {
			left = split(left)
			continue
		}
		v, begun, err := s.post(ctx, p)
		sent = sent || begun
		switch {
		case err != nil && !sent:
			return nil, &Partly{Err: err}
		case err != nil:
			return nil, err
		case v.wait:
			if err := patience.wait(ctx, s, v); err != nil {
				return nil, err
			}
			continue
		case v.tooLarge && p.Lines > 1:
			s.largest = min(s.largest, len(p.Bytes)/2)
			left = split(left)
			continue
		case v.refused && p.Lines > 1:
			left = split(left)
			continue
		case v.refused || v.tooLarge:
			refused = append(refused, Refused{p, v.answer})
		default:
			refused = append(refused, v.account.refused...)
		}
		left = left[:len(left)-1]
		if err := s.doubt(refused, all, left, v); err != nil {
			return nil, err
		}
		if !v.account.again.empty() {
			left = append(left, v.account.again.All())
			v.answer = v.account.reason
			if err := patience.wait(ctx, s, v); err != nil {
				return nil, err
			}
			continue
		}
		patience.reset()
	}
	return refused, nil
}

// doubt returns an error if the server has refused lines, and no connection to it has ever
// delivered any: then the fault may be in the address, and not in the lines. After doubtFor the
// server is believed.
func (s *httpSender) doubt(refused []Refused, all Part, left []Part, v verdict) error {
	done := all.Lines
	for _, p := range left {
		done -= p.Lines
	}
	if len(refused) < done-v.account.again.count {
		s.rejects.noteTaken(s.address)
		return nil
	}
	if err := s.rejects.doubt(s.address, refused, all.Lines); err != nil {
		return fmt.Errorf("POST %s: %w", s.address, err)
	}
	return nil
}

// split replaces the last part by its halves, of which the first is the last one then.
func split(left []Part) []Part {
	n := len(left) - 1
	first, second := left[n].Halves()
	return append(left[:n], second, first)
}

// verdict is what a server has said about the lines of a request.
type verdict struct {
	wait     bool          // it takes them later
	after    time.Duration // with wait: as it has asked; 0: it has not said
	refused  bool          // one of them is not what it takes
	tooLarge bool
	answer   string
	account  account
}

// post makes one request. It reports whether any of the lines may have been sent.
func (s *httpSender) post(ctx context.Context, p Part) (v verdict, begun bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.limits.Timeout, errTimeout)
	defer cancel()
	lines := p.Bytes
	if s.body != nil {
		s.scratch = s.body(s.scratch[:0], p)
		lines = s.scratch
	}
	data, err := s.encoding.encode(lines)
	if err != nil {
		return verdict{}, false, fmt.Errorf("compress a batch: %w", err)
	}
	sent := newBodies(data)
	r, err := s.request(ctx, p, sent)
	if err != nil {
		return verdict{}, false, err
	}
	answer, err := s.transport.RoundTrip(r)
	if err != nil {
		return verdict{}, sent.begun.Load(), s.explain(ctx, err)
	}
	v, err = s.read(p, answer, sent)
	answer.Body.Close()
	if err == nil {
		err = sent.wait(ctx)
	}
	if err != nil {
		return verdict{}, true, s.explain(ctx, err)
	}
	return v, true, nil
}

var errTimeout = errors.New("the server has not answered in time")

// explain returns the error of a request, with the cause if its time was over.
func (s *httpSender) explain(ctx context.Context, err error) error {
	if context.Cause(ctx) == errTimeout {
		return fmt.Errorf("POST %s: %w: timeout=%v", s.address, errTimeout, s.limits.Timeout)
	}
	return fmt.Errorf("POST %s: %w", s.address, err)
}

// request returns a request.
func (s *httpSender) request(ctx context.Context, p Part, sent *bodies) (*http.Request, error) {
	r := (&http.Request{Method: http.MethodPost, URL: s.url, Host: s.url.Host, ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	r.ContentLength = int64(len(sent.data))
	r.GetBody = sent.next // for another connection if one had ended before anything was sent
	r.Body, _ = sent.next()
	r.Header = s.headers.Clone()
	r.Header.Set(s.limits.IDHeader, p.ID())
	if s.encoding.name != "" {
		r.Header.Set("Content-Encoding", s.encoding.name)
	}
	if s.token != nil {
		value, err := s.token.header()
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", value)
	}
	return r, nil
}

// bodies are the bodies of one request: nearly always one. net/http reads from a body in another
// goroutine, perhaps for longer than the request takes, and then closes it.
type bodies struct {
	data   []byte
	last   atomic.Pointer[body]
	open   atomic.Int64
	begun  atomic.Bool   // something was read
	closed chan struct{} // gets a value when the last open one is closed
}

func newBodies(data []byte) *bodies { return &bodies{data: data, closed: make(chan struct{}, 1)} }

// next returns another body with all of the data.
func (b *bodies) next() (io.ReadCloser, error) {
	next := &body{all: b}
	next.Reset(b.data)
	b.open.Add(1)
	b.last.Store(next)
	return next, nil
}

// complete reports whether all of the last body was read.
func (b *bodies) complete() bool { return b.last.Load().read.Load() == int64(len(b.data)) }

// wait waits until nothing reads the data any more.
func (b *bodies) wait(ctx context.Context) error {
	for b.open.Load() > 0 {
		select {
		case <-b.closed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

type body struct {
	bytes.Reader
	all  *bodies
	read atomic.Int64
	once sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	b.all.begun.Store(true)
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func (b *body) WriteTo(w io.Writer) (int64, error) {
	b.all.begun.Store(true)
	n, err := b.Reader.WriteTo(w)
	b.read.Add(n)
	return n, err
}

func (b *body) Close() error {
	b.once.Do(func() {
		if b.all.open.Add(-1) == 0 {
			notify(b.all.closed)
		}
	})
	return nil
}

// read judges an answer by its status. An error means that the connection is of no use.
func (s *httpSender) read(p Part, answer *http.Response, sent *bodies) (v verdict, err error) {
	switch code := answer.StatusCode; {
	case code/100 == 2 && !sent.complete():
		return v, fmt.Errorf("the server answers %s before all of the request was sent", answer.Status)
	case code/100 == 2 && s.judge != nil:
		v.account, err = s.judge(p, answer.Body)
		if errors.Is(err, errLongAnswer) && p.Lines > 1 {
			return verdict{tooLarge: true}, nil
		}
		return v, err
	case code/100 == 2:
		_, err := io.CopyN(io.Discard, answer.Body, maxAnswer)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return v, err
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		v.wait, v.after = true, retryAfter(answer.Header.Get("Retry-After"), time.Now())
	case code == http.StatusBadRequest, code == http.StatusUnprocessableEntity:
		v.answer = answer.Status + quote(answer.Body)
		if !s.address.Secure() && strings.Contains(v.answer, "HTTPS") {
			return v, fmt.Errorf("the server answers %s (it speaks TLS: write %s)", v.answer, s.address.SecureScheme())
		}
		v.refused = true
		return v, nil
	case code == http.StatusRequestEntityTooLarge:
		v.tooLarge = true
	default:
		return v, fmt.Errorf("the server answers %s%s%s", answer.Status, advice(answer), quote(answer.Body))
	}
	v.answer = answer.Status + quote(answer.Body)
	return v, nil
}

// advice tells what to do about a status that no other request would change.
func advice(answer *http.Response) string {
	switch code := answer.StatusCode; code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return " (give it a token: ?token-file=FILE)"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return " (is the path right?)"
	case http.StatusUnsupportedMediaType:
		return " (does it take compress=" + answer.Request.Header.Get("Content-Encoding") + "?)"
	default:
		if code/100 == 3 {
			return " to " + answer.Header.Get("Location") + " (write that address as the target)"
		}
	}
	return ""
}

// quote returns the beginning of an answer for people, with a separator before it.
func quote(r io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(r, maxAnswer))
	text = bytes.Join(bytes.Fields(text), []byte(" "))
	if len(text) == 0 {
		return ""
	}
	return fmt.Sprintf(": %q", text[:min(len(text), maxQuoted)])
}
