package httpsource

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"linesplit/internal/accept"
)

// errDraining is the cause for which a request may hand over no more lines.
var errDraining = errors.New("the service is ending")

// ServeHTTP implements http.Handler.
func (v *serving) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(clientKey{}).(*client)
	if !ok {
		panic("httpsource: a request without its connection")
	}
	defer v.leaveHandler(c)
	if !v.enterHandler(c) {
		v.answer(w, r, again(http.StatusServiceUnavailable, deliveredNone, "the service is ending"))
		return
	}
	switch {
	case v.endpoint.Path != "" && r.URL.Path != v.endpoint.Path:
		v.answer(w, r, refused(http.StatusNotFound, "lines go to "+v.endpoint.Path))
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK) // for probes, which are not counted
	case r.Method != http.MethodPost && r.Method != http.MethodPut:
		w.Header().Set("Allow", "GET, HEAD, POST, PUT")
		v.answer(w, r, refused(http.StatusMethodNotAllowed, "send lines with POST or PUT"))
	case origins.Check(r) != nil:
		v.answer(w, r, refused(http.StatusForbidden, "pages of other origins cannot send lines"))
	case !v.authorized(r):
		w.Header().Set("WWW-Authenticate", "Bearer")
		v.answer(w, r, refused(http.StatusUnauthorized, "send the token of the listener: Authorization: Bearer TOKEN"))
	case r.ContentLength > v.endpoint.MaxRequest:
		b := body{max: v.endpoint.MaxRequest}
		v.answer(w, r, b.refusal(r, errTooLarge{}))
	case v.s.overdue.Load() > v.s.overdueMax:
		v.answer(w, r, again(http.StatusTooManyRequests, deliveredNone, "targets do not confirm the lines of earlier requests"))
	default:
		v.answer(w, r, v.take(c, w, r))
	}
}

func (v *serving) authorized(r *http.Request) bool {
	if v.endpoint.Token == nil {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && v.endpoint.Token.Matches(strings.TrimSpace(token))
}

// origins refuses requests that a browser sends for pages of other origins. Other clients do not
// name an origin.
var origins = http.NewCrossOriginProtection()

// answer counts, logs and writes an answer.
func (v *serving) answer(w http.ResponseWriter, r *http.Request, a answer) {
	v.s.counts.add(a.status)
	switch a.status {
	case statusGone:
		panic(http.ErrAbortHandler) // closes the connection
	case http.StatusOK:
	default:
		v.s.logs.Of(http.StatusText(a.status)).Warn(v.s.o.Logger, "request refused", slog.Int("status", a.status),
			slog.String("why", a.Error), slog.String("peer", r.RemoteAddr), slog.String("listener", accept.Name(v.ln)))
	}
	a.write(w)
}

// take takes the lines of a request, waits until they are confirmed, and returns the answer.
func (v *serving) take(c *client, w http.ResponseWriter, r *http.Request) answer {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(v.cut, func() { cancel(errDraining) })()
	b := &body{s: v.s, ctx: ctx, maxLine: v.s.o.Limits().MaxLine, max: v.endpoint.MaxRequest}
	defer b.release()
	if err := v.readBody(b, w, r); err != nil {
		if v.cut.Err() != nil {
			v.s.o.Senders.NoteCutOff()
			return again(http.StatusServiceUnavailable, deliveredNone, errDraining.Error())
		}
		return b.refusal(r, err)
	}
	if b.lines == 0 {
		return answer{status: http.StatusOK}
	}
	return v.deliver(r.Context(), ctx, c, b)
}

var past = time.Unix(1, 0)

// readBody reads the records of a request. The whole body has to come within Endpoint.Timeout, and
// before v.cut ends.
func (v *serving) readBody(b *body, w http.ResponseWriter, r *http.Request) error {
	control := http.NewResponseController(w) // its errors mean that the connection is closed
	control.SetReadDeadline(time.Now().Add(v.endpoint.Timeout))
	stop := context.AfterFunc(v.cut, func() { control.SetReadDeadline(past) })
	defer stop()
	from := &source{Reader: http.MaxBytesReader(w, r.Body, b.max)}
	decoded, done, err := b.decode(r.Header.Get("Content-Encoding"), from)
	if err != nil {
		return err
	}
	defer done()
	size := int64(-1)
	if decoded == from {
		size = r.ContentLength
	}
	if err := b.read(decoded, size); err != nil {
		return err
	}
	if !stop() {
		return errDraining
	}
	// While the answer is awaited, the HTTP server reads to notice the end of the client.
	return control.SetReadDeadline(time.Time{})
}

// deliver hands over the lines of b, and waits until they are confirmed.
//
// here ends when the client has gone, and ctx when no more lines may be handed over, too.
func (v *serving) deliver(here, ctx context.Context, c *client, b *body) answer {
	lines, now := b.lines, time.Now()
	p := newPending(b.buffers, v.s.o.Required, &v.s.overdue)
	for _, x := range b.buffers {
		x.Read = now
	}
	keyless, sent, err := v.send(ctx, c, b)
	if sent && err != nil {
		p.abandon() // a part of its lines is on its way
	}
	switch {
	case err == nil:
	case ctx.Err() != nil && context.Cause(ctx) != errDraining:
		return answer{status: statusGone}
	case !sent && context.Cause(ctx) == errDraining:
		return again(http.StatusServiceUnavailable, deliveredNone, errDraining.Error())
	case !sent:
		return again(http.StatusTooManyRequests, deliveredNone, "targets take no more lines at the moment")
	default:
		return again(http.StatusServiceUnavailable, inDoubt, "targets have not taken all lines in time, only some")
	}
	v.awaits(c)
	return v.await(here, p, lines, keyless)
}

// send hands over the buffers of b. It reports how many lines had no key, and whether any line was
// handed over. It waits for the first one as long as patience, and for the others until
// Endpoint.Timeout has passed: then some have gone, and cannot be taken back.
func (v *serving) send(ctx context.Context, c *client, b *body) (keyless int, sent bool, err error) {
	impatient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	keyless, sent, err = v.sendFirst(impatient, c, b)
	if err != nil {
		return keyless, sent, err
	}
	patient, cancelAll := context.WithTimeout(ctx, v.endpoint.Timeout)
	defer cancelAll()
	for len(b.buffers) > 0 {
		more, _, err := v.sendFirst(patient, c, b)
		keyless += more
		if err != nil {
			return keyless, true, err
		}
	}
	return keyless, true, nil
}

// sendFirst hands over the first buffer of b. It reports how many lines had no key, and whether any
// line has left the buffer.
func (v *serving) sendFirst(ctx context.Context, c *client, b *body) (keyless int, sent bool, err error) {
	x := b.buffers[0]
	memory, lines := x.Memory(), x.Lines
	dropped, err := c.sender.Send(ctx, x)
	if err != nil {
		return int(dropped.Lines), x.Lines < lines, err
	}
	b.buffers = b.buffers[1:]
	b.taken -= memory
	v.s.room.give(memory)
	return int(dropped.Lines), true, nil
}

// await waits until the lines of p are confirmed, or in the spool, and returns the answer. The end
// of reading does not end the wait.
func (v *serving) await(here context.Context, p *pending, lines, keyless int) answer {
	late := time.NewTimer(v.endpoint.Timeout)
	defer late.Stop()
	why := "targets have not confirmed the lines in time"
	select {
	case <-p.complete:
	case <-late.C:
	case <-v.ended.Done():
		why = errDraining.Error()
	case <-here.Done():
		p.abandon()
		return answer{status: statusGone}
	}
	if !p.isComplete() {
		p.abandon()
		a := again(http.StatusServiceUnavailable, inDoubt, why+": they may be delivered all the same")
		a.Lines = lines
		return a
	}
	if others := p.Lost(); keyless+others > 0 {
		return losses(lines, keyless, others)
	}
	return answer{status: http.StatusOK}
}
