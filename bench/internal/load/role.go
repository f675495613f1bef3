//go:build linux

// Package load is both ends of a contender: senders, receivers, echo servers and latency probes.
// Each is a process of its own, a Child in one of the Roles, and costs much less than what it
// measures.
package load

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"strings"
)

// Role is a job that this program does as its own child. The role reads commands from in, its
// standard input, one per line. It answers with reply and returns at the end of in.
type Role func(o Options, in *bufio.Scanner, reply Reply) error

// Reply writes one line to the standard output.
type Reply func(format string, args ...any)

// Roles returns the roles of this package by name.
func Roles() map[string]Role {
	return map[string]Role{"sink": sinkRole, "send": sendRole, "latency": latencyRole, "idle": idleRole,
		"echo": echoRole, "call": callRole, "roundtrip": roundtripRole, "number": numberRole, "tally": tallyRole}
}

// RunRole runs the role that args begin with and reports whether they begin with one. If the role
// fails, the process exits.
func RunRole(roles map[string]Role, args []string) bool {
	if len(args) == 0 {
		return false
	}
	r, ok := roles[args[0]]
	if ok {
		r.run(args[1:])
	}
	return ok
}

// Options are the flags of roles. Each role reads some of them.
type Options struct {
	Listen string   // address
	To     []string // addresses to connect to, in turn
	ports  int      // addresses to listen on
	conns  int
	bytes  int64 // over all connections
	size   int   // bytes per line or message
	count  int   // lines or messages
	rate   int   // lines or messages per second
	verify bool
	closed bool
	certs  string // folder
}

// serverTLS returns the TLS configuration of a target, nil if it speaks no TLS.
func (o Options) serverTLS() *tls.Config {
	if o.certs == "" {
		return nil
	}
	return certificatesIn(o.certs).ServerTLS()
}

// clientTLS returns the TLS configuration of a sender, nil if it speaks no TLS.
func (o Options) clientTLS() *tls.Config {
	if o.certs == "" {
		return nil
	}
	return certificatesIn(o.certs).ClientTLS()
}

func parseOptions(args []string) (o Options, err error) {
	flags := flag.NewFlagSet("role", flag.ContinueOnError)
	flags.StringVar(&o.Listen, "listen", "", "address to listen on (sink: with port 0; the loopback if empty)")
	flags.Func("to", "comma-separated addresses to connect to, used in turn", func(list string) error {
		o.To = strings.Split(list, ",")
		return nil
	})
	flags.IntVar(&o.ports, "ports", 2, "addresses to listen on")
	flags.IntVar(&o.conns, "conns", 1, "connections")
	flags.Int64Var(&o.bytes, "bytes", 0, "bytes over all connections, in whole lines")
	flags.IntVar(&o.size, "size", 600, "bytes per line or message")
	flags.IntVar(&o.count, "count", 40000, "lines or messages to send on each connection")
	flags.IntVar(&o.rate, "rate", 4000, "lines per second on each connection")
	flags.BoolVar(&o.verify, "verify", false, "check every line")
	flags.BoolVar(&o.closed, "closed", false, "refuse connections until the command open")
	flags.StringVar(&o.certs, "certs", "", "folder of certificates; with it, speak TLS")
	return o, flags.Parse(args)
}

func (r Role) run(args []string) {
	reply := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	o, err := parseOptions(args)
	if err == nil {
		err = r(o, bufio.NewScanner(os.Stdin), reply)
	}
	if err != nil {
		reply("error %v", err)
		os.Exit(1)
	}
}
