package send

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"linesplit/internal/simulate/record"
)

// Options say which clients send what, and where to. Only To is required.
type Options struct {
	To  []Dial // addresses; the clients of each kind take them in turn
	Mix Mix    // kinds of clients

	// Connections is the number of clients at one time. Each kind has its share by Mix, at most
	// rounded up, so that clients that stay do not crowd out those that come and go. With
	// ClientsPerSecond it is a limit: clients that exceed it start later. If 0, it is 1, or 1000
	// with ClientsPerSecond.
	Connections int
	// ClientsPerSecond starts clients at this rate. If 0, they start at once.
	ClientsPerSecond float64
	// Clients is the total number of clients. When a client has ended, successfully or not,
	// another one starts. If 0, there is no limit; but with neither Duration nor
	// ClientsPerSecond, 0 means Connections.
	Clients int

	Lines  uint64        // per client; 0 is no limit. FireAndForget sends one, Idle none
	Rate   float64       // lines per second of each Stream and Request client; 0 is no limit
	Length record.Length // of numbered records
	Pause  time.Duration // between two bytes of a Slow client. 10 ms if 0
	// FirstSender is the first sender number in records. There are as many senders as clients at
	// one time: when a client ends, another one continues with its sender.
	FirstSender uint32

	// Input is read for newline-terminated lines to send in place of numbered records. Clients
	// share the lines. Run ends after the last of them. The caller closes Input. Run does not
	// wait for a blocked Read when everything else has ended.
	Input io.Reader
	// Repeat is the number of times that Input is sent; 0 means once, a negative number without
	// end. To be repeated, Input must be an io.Seeker or fit into 64 MiB.
	Repeat int

	Duration time.Duration // after this time all clients end; 0 is no limit
	// Reconnect makes a client whose connection was lost connect again, with growing pauses. It
	// continues with the line after the last one that the kernel accepted whole.
	Reconnect bool
	// WriteOnly makes Stream clients never read, and close as soon as everything is written, as
	// simple log shippers do. What a peer has sent to such a client then makes the kernel reset
	// the connection. The client does not notice that its peer ends the connection before it
	// writes.
	WriteOnly bool

	Interval    time.Duration // between two calls of Run's progress. 100 ms if 0
	DialTimeout time.Duration // for one attempt to connect, TLS handshake included. 5 s if 0
	Timeout     time.Duration // for the acknowledgement of a Request client's line. 5 s if 0
	// Grace limits how long a client may take to complete a write when the run ends, and how long
	// its peer may take to acknowledge everything when a client has sent all. After that the peer
	// counts as stalled. 5 s if 0.
	Grace time.Duration
}

// Dial is an address to connect to.
type Dial struct {
	Network string      // tcp or unix
	Address string      // host:port, path, or @name
	TLS     *tls.Config // nil: no TLS. An empty ServerName means the host of the address. Not changed

	// Connect opens the connection below TLS, which the client then owns. Nil: a net.Dialer does.
	Connect func(ctx context.Context, network, address string) (net.Conn, error)
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

// Check returns an error that lists all faults of the options, or nil. Run calls it too.
func (o Options) Check() error {
	var errs []error
	if len(o.To) == 0 {
		errs = append(errs, errors.New("nowhere to send to"))
	}
	for _, d := range o.To {
		if d.Network != "tcp" && d.Network != "unix" {
			errs = append(errs, fmt.Errorf("network %q of %s: known are tcp and unix", d.Network, d.Address))
		}
	}
	if o.Connections < 0 || o.ClientsPerSecond < 0 || o.Clients < 0 || o.Rate < 0 {
		errs = append(errs, errors.New("a number or rate is negative"))
	}
	d := o.withDefaults()
	if !d.Mix.onlyIdle() && d.Clients > d.Connections && d.Duration == 0 && d.maxClients(Idle) >= d.Connections {
		errs = append(errs, errors.New("idle clients would take all connections for ever: "+
			"set a duration, or allow more connections"))
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

// maxClients returns how many clients of a kind there may be at one time.
func (o Options) maxClients(k Kind) int { return o.Mix.shareOf(k, o.Connections) }

// finite reports whether every client ends by itself.
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
