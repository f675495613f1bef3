package sink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Behaviour says how the application behind a sink treats its connections. The zero value reads as fast as it can. In JSON durations are text,
// such as "250ms".
type Behaviour struct {
	Delay          time.Duration `json:"delay"`           // after each line, before the next
	ReadRate       int64         `json:"read_rate"`       // bytes per second, of each connection; 0: no limit
	MaxConnections int           `json:"max_connections"` // at one time; further ones are reset; 0: no limit
	IdleTimeout    time.Duration `json:"idle_timeout"`    // a connection that brings nothing for so long is closed; 0: never
	Refuse         bool          `json:"refuse"`          // do not listen; connections that there are stay
	Chaos          float64       `json:"chaos"`           // percent of new connections that are reset
	ChaosWhen      string        `json:"chaos_when"`      // AtOnce, which is also what "" means, or MidStream
	Hang           bool          `json:"hang"`            // accept, and then neither read nor write, nor shake hands
	HalfClose      bool          `json:"half_close"`      // send FIN on new connections at once, and read on
	ResetUnread    bool          `json:"reset_unread"`    // read a little of each connection, and reset it when more is there
	Request        bool          `json:"request"`         // answer each line with "ok <n>", n being its number on its connection
}

// When chaos strikes.
const (
	AtOnce    = "at-once"    // when the connection has been accepted
	MidStream = "mid-stream" // behind the first few bytes that it brings
)

// maxDuration bounds the durations of a behaviour.
const maxDuration = 24 * time.Hour

// Check says all that is wrong with a behaviour, or returns nil.
func (b Behaviour) Check() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(b.Delay < 0 || b.Delay > maxDuration, "delay %v: want a duration from 0s to %v", b.Delay, maxDuration)
	refuse(b.IdleTimeout < 0 || b.IdleTimeout > maxDuration, "idle timeout %v: want a duration from 0s to %v", b.IdleTimeout, maxDuration)
	refuse(b.ReadRate < 0, "read rate %d: want bytes per second, or 0 for no limit", b.ReadRate)
	refuse(b.MaxConnections < 0, "max connections %d: want a number, or 0 for no limit", b.MaxConnections)
	refuse(!(b.Chaos >= 0 && b.Chaos <= 100), "chaos %v: want a percentage from 0 to 100", b.Chaos) // NaN is neither
	refuse(b.ChaosWhen != "" && b.ChaosWhen != AtOnce && b.ChaosWhen != MidStream, "chaos when %q: want %s or %s", b.ChaosWhen, AtOnce, MidStream)
	refuse(b.HalfClose && b.Request, "half close and request: behind its FIN a sink cannot answer")
	return errors.Join(errs...)
}

// text is a duration as JSON has it.
type text time.Duration

func (t text) MarshalText() ([]byte, error) { return []byte(time.Duration(t).String()), nil }

func (t *text) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration: want 500ms, 30s or 5m", b)
	}
	*t = text(d)
	return nil
}

// plain is a behaviour without its methods. What wire says of durations takes the place of what plain says of them.
type plain Behaviour

type wire struct {
	plain
	Delay       text `json:"delay"`
	IdleTimeout text `json:"idle_timeout"`
}

// MarshalJSON writes all fields.
func (b Behaviour) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{plain(b), text(b.Delay), text(b.IdleTimeout)})
}

// UnmarshalJSON changes the fields that are there, and refuses unknown ones. It does not Check the whole.
func (b *Behaviour) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(data, []byte("{")) {
		return errors.New("want an object of settings")
	}
	w := wire{plain(*b), text(b.Delay), text(b.IdleTimeout)}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return err
	}
	*b = Behaviour(w.plain)
	b.Delay, b.IdleTimeout = time.Duration(w.Delay), time.Duration(w.IdleTimeout)
	return nil
}
