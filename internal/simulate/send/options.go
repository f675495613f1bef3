package send

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"linesplit/internal/simulate/record"
)

// Options say who sends what, and where to. All but To may be left zero.
type Options struct {
	To  []Dial // where clients connect: those of one kind take them in turn
	Mix Mix    // who they are

	// Connections is how many clients there are at one time, of each kind as many as the Mix says, rounded up at most: kinds that stay do
	// not crowd out those that come and go. With ClientsPerSecond it is the most there may be: those for whom there is no room come
	// late. 1, or with ClientsPerSecond 1000, if 0.
	Connections int
	// ClientsPerSecond lets clients arrive at this rate, in place of all at once.
	ClientsPerSecond float64
	// Clients is how many there are in all: a client that has ended, well or not, makes room for another. If 0 there is no limit, but
	// with neither Duration nor ClientsPerSecond it is Connections.
	Clients int

	Lines  uint64        // of each client; 0 is no limit. FireAndForget has one, Idle none
	Rate   float64       // lines per second of each Stream and Request client; 0 is as fast as it can
	Length record.Length // of numbered records
	Pause  time.Duration // between two bytes of a Slow client. 10 ms if 0
	// FirstSender is the first number of a sender in records. There are as many senders as there were clients at one time: a client goes on
	// where another one ended that had the same number.
	FirstSender uint32

	// Input has the lines to send, newline-terminated, in place of numbered records; clients share them. Run ends when it has ended. The
	// caller closes it. Run does not wait for a Read that hangs when all else has ended.
	Input io.Reader
	// Repeat is how often Input is sent; 0 is once, less than 0 without end. To be repeated it must be an io.Seeker, or fit into 64 MiB.
	Repeat int

	Duration time.Duration // after which all clients end; 0 is no limit
	// Reconnect lets a client whose connection was lost connect again, with a growing pause, and go on with the line after the last one
	// that the kernel took whole.
	Reconnect bool

	Interval    time.Duration // between two calls of Run's progress. 100 ms if 0
	DialTimeout time.Duration // of one attempt to connect, TLS handshake included. 5 s if 0
	Timeout     time.Duration // how long a Request client waits for its acknowledgement. 5 s if 0
	// Grace is how long a client may take to finish the write that it is in when the run ends, and how long its peer to acknowledge what
	// was written when a client has sent all. Beyond that the peer counts as stalled. 5 s if 0.
	Grace time.Duration
}

// Dial is an address to connect to.
type Dial struct {
	Network string      // tcp or unix
	Address string      // host:port, path, or @name
	TLS     *tls.Config // nil: plain. Its ServerName, if empty, is the address's host. Not owned
}

// String returns the address with its scheme: tcp://, tls:// or unix://.
func (d Dial) String() string {
	if d.TLS != nil && d.Network == "tcp" {
		return "tls://" + d.Address
	}
	return d.Network + "://" + d.Address
}

func (d Dial) withServerName() Dial {
	if d.TLS == nil || d.TLS.ServerName != "" {
		return d
	}
	d.TLS = d.TLS.Clone()
	d.TLS.ServerName = d.Address
	if host, _, err := net.SplitHostPort(d.Address); err == nil {
		d.TLS.ServerName = host
	}
	return d
}

// Check returns all that is wrong with the options, or nil. Run calls it too.
func (o Options) Check() error {
	var errs []error
	if len(o.To) == 0 {
		errs = append(errs, errors.New("nowhere to send to"))
	}
	for _, d := range o.To {
		if d.Network != "tcp" && d.Network != "unix" {
			errs = append(errs, fmt.Errorf("network %q of %s: only tcp and unix have streams", d.Network, d.Address))
		}
	}
	if o.Connections < 0 || o.ClientsPerSecond < 0 || o.Clients < 0 || o.Rate < 0 {
		errs = append(errs, errors.New("a number or rate below 0"))
	}
	d := o.withDefaults()
	if !d.Mix.onlyIdle() && d.Clients > d.Connections && d.Duration == 0 && d.most(Idle) >= d.Connections {
		errs = append(errs, errors.New("idle clients would come to hold all connections for ever: it takes a duration, or more connections"))
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if len(o.Mix) == 0 {
		o.Mix = Mix{{Stream, 1}}
	}
	if o.Connections == 0 {
		o.Connections = 1
		if o.ClientsPerSecond > 0 {
			o.Connections = 1000
		}
	}
	if o.Clients == 0 && o.Duration == 0 && o.ClientsPerSecond == 0 {
		o.Clients = o.Connections
	}
	set(&o.Pause, 10*time.Millisecond)
	set(&o.Interval, reportInterval)
	set(&o.DialTimeout, 5*time.Second)
	set(&o.Timeout, 5*time.Second)
	set(&o.Grace, 5*time.Second)
	return o
}

// most is how many clients of a kind there may be at one time.
func (o Options) most(k Kind) int { return o.Mix.of(k, o.Connections) }

// finite says whether every client ends by itself.
func (o Options) finite() bool {
	for _, s := range o.Mix {
		if s.Kind == Idle || s.Kind != FireAndForget && o.Lines == 0 {
			return false
		}
	}
	return true
}

func set(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}
