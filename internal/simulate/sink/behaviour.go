package sink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Behaviour determines how the application behind a sink treats its connections. The zero value
// reads as fast as possible. In JSON, durations are text, such as "250ms".
type Behaviour struct {
	Delay          time.Duration `json:"delay"`           // after each line
	ReadRate       int64         `json:"read_rate"`       // bytes per second and connection; 0: no limit
	MaxConnections int           `json:"max_connections"` // at one time; further ones are reset; 0: no limit
	IdleTimeout    time.Duration `json:"idle_timeout"`    // close connections idle for so long; 0: never
	Refuse         bool          `json:"refuse"`          // stop listening; open connections stay
	Chaos          float64       `json:"chaos"`           // percentage of new connections to reset
	ChaosWhen      string        `json:"chaos_when"`      // AtOnce, also if empty, or MidStream
	Hang           bool          `json:"hang"`            // accept, but do not read, write or shake hands
	HalfClose      bool          `json:"half_close"`      // send FIN on new connections at once, and read on
	ResetUnread    bool          `json:"reset_unread"`    // read a little, then reset connections with more to read
	Request        bool          `json:"request"`         // answer line n of a connection with "ok <n>"

	// The rest is for tests of this module. The control cannot set it.

	Interval time.Duration `json:"-"` // pause before reading what has arrived meanwhile; 0: none
	Chunk    int           `json:"-"` // bytes to read between two pauses; 0: all that has arrived
}

// Times at which Chaos resets connections.
const (
	AtOnce    = "at-once"    // when accepted
	MidStream = "mid-stream" // after the first few bytes
)

// maxDuration is the limit of the durations of a behaviour.
const maxDuration = 24 * time.Hour

// Check returns an error that lists all faults of a behaviour, or nil.
func (b Behaviour) Check() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(b.Delay < 0 || b.Delay > maxDuration, "delay %v: want a duration from 0s to %v", b.Delay, maxDuration)
	refuse(b.IdleTimeout < 0 || b.IdleTimeout > maxDuration, "idle timeout %v: want a duration from 0s to %v",
		b.IdleTimeout, maxDuration)
	refuse(b.ReadRate < 0, "read rate %d: want bytes per second, or 0 for no limit", b.ReadRate)
	refuse(b.MaxConnections < 0, "max connections %d: want a number, or 0 for no limit", b.MaxConnections)
	refuse(!(b.Chaos >= 0 && b.Chaos <= 100), "chaos %v: want a percentage from 0 to 100", b.Chaos) // true for NaN
	refuse(b.ChaosWhen != "" && b.ChaosWhen != AtOnce && b.ChaosWhen != MidStream, "chaos when %q: want %s or %s",
		b.ChaosWhen, AtOnce, MidStream)
	refuse(b.Interval < 0 || b.Interval > maxDuration, "interval %v: want a duration from 0s to %v", b.Interval,
		maxDuration)
	refuse(b.Chunk < 0, "chunk %d: want a number of bytes, or 0 for no limit", b.Chunk)
	refuse(b.HalfClose && b.Request, "half close and request: a sink cannot answer after its FIN")
	return errors.Join(errs...)
}

// text is a duration that JSON represents as text.
type text time.Duration

func (t text) MarshalText() ([]byte, error) { return []byte(time.Duration(t).String()), nil }

func (t *text) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration: want 500ms, 30s or 5m", b)
	}
	*t = text(d)
	return nil
}

// plain is a Behaviour without its methods. The durations of wire take precedence over those of
// plain.
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

// UnmarshalJSON changes the fields that are present, and refuses unknown ones. It does not call
// Check.
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
