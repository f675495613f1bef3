package acked

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"linesplit/internal/relp"
	"linesplit/internal/stranger"
	"linesplit/target"
)

const (
	// maxUnanswered is how many frames may wait for their responses. It is that of rsyslog's
	// client.
	maxUnanswered = 128
	// maxFrames is how many bytes of frames are kept for the next write, unless a line is longer.
	maxFrames = 64 << 10
	// closeWithin limits the time for the end of a session.
	closeWithin = time.Second
)

// relpSender sends each line as a frame of RELP, and has up to maxUnanswered of them unanswered.
//
// One goroutine writes and reads. That cannot get stuck: responses are short, and those to all
// unanswered frames have room in the buffers of the sockets.
type relpSender struct {
	address target.Address
	conn    *pacedConn
	buffer  *bufio.Reader // of in
	in      *relp.Reader
	out     []byte // frames on their way to the connection
	next    uint32 // transaction number of the next frame
	window  relpWindow
	rejects *Rejects
	taken   bool // the server has taken a line
	failed  bool
}

// dialRELP connects to a target and opens a session with it.
func dialRELP(ctx context.Context, a target.Address, o *Options) (*relpSender, error) {
	if o.Dial.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Dial.Timeout)
		defer cancel()
	}
	conn, err := target.Dial(ctx, a, &o.Dial, nil)
	if err != nil {
		return nil, err
	}
	s := newRELPSender(a, conn, o.Rejects)
	if err := s.open(ctx, o.Version); err != nil {
		s.Close()
		return nil, fmt.Errorf("dial target %s: open a RELP session: %w", a, err)
	}
	return s, nil
}

// newRELPSender returns a sender that uses conn and closes it. Its session is still to be opened.
func newRELPSender(a target.Address, conn net.Conn, rejects *Rejects) *relpSender {
	s := &relpSender{address: a, next: 1, rejects: rejects}
	s.conn = &pacedConn{Conn: conn, timeout: a.Batching.WithDefaults().Timeout}
	s.buffer = bufio.NewReader(s.conn)
	s.in = relp.NewReader(s.buffer, maxAnswer)
	return s
}

// Close implements Sender. It ends a session in good order, and waits for the server's end for no
// longer than closeWithin, in the goroutine of the Conn: rsyslogd logs an error for a client that
// is gone before it has its response.
func (s *relpSender) Close() {
	if s.failed {
		closeSocket(s.conn.Conn)
		return
	}
	conn := s.conn.Conn
	conn.SetDeadline(time.Now().Add(closeWithin))
	if _, err := conn.Write(relp.Append(s.out[:0], s.next, relp.Close, nil)); err == nil {
		io.CopyN(io.Discard, conn, maxAnswer)
	}
	closeSocket(conn)
}

// closeSocket closes the socket of a connection. With TLS, Close would wait to announce that.
func closeSocket(conn net.Conn) {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	conn.Close()
}

// open opens the session.
func (s *relpSender) open(ctx context.Context, version string) error {
	defer s.conn.begin(ctx)()
	if err := s.greet(version); err != nil {
		s.failed = true
		return s.explain(ctx, err)
	}
	return nil
}

func (s *relpSender) greet(version string) error {
	offer := relp.Offer{Version: 0, Software: "linesplit," + version, Commands: []string{relp.Syslog}}
	s.add(relp.Open, offer.Append(nil), Part{})
	if err := s.flush(); err != nil {
		return err
	}
	if _, err := s.buffer.Peek(1); err != nil {
		return err
	}
	said, _ := s.buffer.Peek(s.buffer.Buffered())
	hint := s.hint(said)
	_, r, err := s.answer()
	if err != nil {
		return fmt.Errorf("%w%s", err, hint)
	}
	if r.Status != relp.OK {
		return fmt.Errorf("the server refuses: %s", answerText(r))
	}
	accepted, err := relp.ParseOffer(r.Data)
	switch {
	case err != nil:
		return err
	case accepted.Version > 1: // 1 has the frames of 0
		return fmt.Errorf("the server speaks version %d of RELP; linesplit speaks 0 and 1", accepted.Version)
	case !accepted.Has(relp.Syslog):
		return fmt.Errorf("the server takes the commands %q, and not %q", strings.Join(accepted.Commands, ","), relp.Syslog)
	}
	return nil
}

// hint returns what the first bytes of a server are a sign of, if that is not RELP.
func (s *relpSender) hint(said []byte) string {
	switch hint := stranger.Hint(said); {
	case hint == "":
		return ""
	case said[0] < ' ':
		return " (it speaks TLS: write " + s.address.SecureScheme() + ")"
	default:
		return " (" + hint + ")"
	}
}

// Send implements Sender.
func (s *relpSender) Send(ctx context.Context, p Part) ([]Refused, error) {
	if p.Lines == 1 && len(p.Bytes)-1 > relp.MaxData { // such a line is alone in its batch
		return []Refused{{p, fmt.Sprintf("longer than a RELP frame can be, %d bytes", relp.MaxData)}}, nil
	}
	defer s.conn.begin(ctx)()
	refused, delivered, sent, err := s.send(p)
	if err != nil {
		s.failed = true
		err = fmt.Errorf("%s: %w; lines without a response: %d", s.address, s.explain(ctx, err), s.window.unanswered())
		return nil, &Partly{delivered, sent, err}
	}
	slices.SortFunc(refused, func(a, b Refused) int { return a.from - b.from })
	return refused, nil
}

// send sends the lines of p, and returns those that the server has refused in the order of its
// responses. It writes when half of the window is free, so that a write has many frames even if the
// responses come one by one.
func (s *relpSender) send(all Part) (refused []Refused, delivered, sent int, err error) {
	rest := all
	defer func() { delivered, sent = s.delivered(all, rest, refused), rest.from-all.from }()
	for rest.Lines > 0 || s.window.count > 0 {
		if free := maxUnanswered - s.window.count; rest.Lines > 0 && free >= min(rest.Lines, maxUnanswered/2) {
			if rest, err = s.write(rest, free); err != nil {
				return refused, 0, 0, err
			}
			continue
		}
		line, r, err := s.answer()
		if err != nil {
			return refused, 0, 0, err
		}
		if r.Status == relp.OK {
			s.noteTaken()
			continue
		}
		refused = append(refused, Refused{line, answerText(r)})
		if s.taken {
			continue
		}
		if err := s.rejects.doubt(s.address, refused, all.Lines); err != nil {
			return refused, 0, 0, err
		}
	}
	return refused, 0, 0, nil
}

// delivered returns how many of the first lines of all the server has taken: those before the
// oldest unanswered one, the first that is not sent, and the first that is refused.
func (s *relpSender) delivered(all, rest Part, refused []Refused) int {
	end := rest.from
	if s.window.count > 0 {
		end = s.window.frames[s.window.oldest].line.from
	}
	for _, r := range refused {
		end = min(end, r.from)
	}
	return end - all.from
}

// noteTaken notes that the server has taken a line.
func (s *relpSender) noteTaken() {
	if !s.taken {
		s.taken = true
		s.rejects.noteTaken(s.address)
	}
}

// write writes up to n lines of p, and returns the others.
func (s *relpSender) write(p Part, n int) (left Part, err error) {
	for ; n > 0 && p.Lines > 0; n-- {
		var line Part
		line, p = cutLine(p)
		s.add(relp.Syslog, line.Bytes[:len(line.Bytes)-1], line)
		if len(s.out) >= maxFrames {
			if err := s.flush(); err != nil {
				return p, err
			}
		}
	}
	return p, s.flush()
}

// add appends a frame to those that are written next.
func (s *relpSender) add(command string, data []byte, line Part) {
	s.out = relp.Append(s.out, s.next, command, data)
	s.window.add(s.next, line)
	s.next = relp.Next(s.next)
}

func (s *relpSender) flush() error {
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	if cap(s.out) > 2*maxFrames {
		s.out = nil
	}
	return err
}

// answer reads a response, and returns it with the line that it is for.
func (s *relpSender) answer() (line Part, r relp.Response, err error) {
	f, err := s.in.Next()
	switch {
	case err != nil:
		return Part{}, r, err
	case f.Number == 0 && f.Command == relp.ServerClose:
		return Part{}, r, errServerClose
	case f.Command != relp.Respond:
		return Part{}, r, fmt.Errorf("the command %q instead of a response", f.Command)
	}
	if r, err = relp.ParseResponse(f.Data); err != nil {
		return Part{}, r, err
	}
	if line, err = s.window.answer(f.Number); err == nil {
		s.conn.extend()
	}
	return line, r, err
}

// answerText returns a response for people.
func answerText(r relp.Response) string {
	return fmt.Sprintf("%d %q", r.Status, r.Text[:min(len(r.Text), maxQuoted)])
}

// cutLine returns the first line of p, and the others.
func cutLine(p Part) (line, others Part) {
	end := bytes.IndexByte(p.Bytes, '\n') + 1
	return Part{p.Bytes[:end], 1, p.batch, p.from}, Part{p.Bytes[end:], p.Lines - 1, p.batch, p.from + 1}
}

var (
	errServerClose  = errors.New("the server ends the session (serverclose)")
	errServerClosed = errors.New("the server has closed the connection")
)

// explain returns the cause of an error of what was done in ctx.
func (s *relpSender) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: timeout=%v", errTimeout, s.conn.timeout)
	case errors.Is(err, io.EOF):
		return errServerClosed
	}
	return err
}

// pacedConn is a connection whose reads and writes fail when the peer has not made progress for the
// timeout, or the context of what they are for has ended.
type pacedConn struct {
	net.Conn
	timeout time.Duration

	ctx context.Context // since begin
	due bool            // the next read or write sets the deadline
}

// begin begins what ctx limits. The caller calls end after it.
func (c *pacedConn) begin(ctx context.Context) (end func() bool) {
	c.ctx = ctx
	c.extend()
	return context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
}

// extend notes that the peer has made progress.
func (c *pacedConn) extend() { c.due = true }

// ready sets the deadline if there was progress. It looks at the context after that, not before:
// then the deadline that the end of the context sets is the last one.
func (c *pacedConn) ready() error {
	if !c.due {
		return nil
	}
	c.due = false
	c.SetDeadline(time.Now().Add(c.timeout)) // an error would be that of the read or write, too
	return c.ctx.Err()
}

func (c *pacedConn) Read(p []byte) (int, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *pacedConn) Write(p []byte) (int, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
