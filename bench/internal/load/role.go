//go:build linux

// Package load is what stands at both ends of a contender: senders, receivers, echoes and latency probes, each a process of its own.
package load

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"strings"
)

// A role is what this program does as its own child. It is told what to do line by line on its standard input, answers line by
// line on its standard output, and ends with its input.
type Role func(o Options, in *bufio.Scanner, say func(format string, args ...any)) error

// Roles returns them by name.
func Roles() map[string]Role {
	return map[string]Role{"sink": sinkRole, "send": sendRole, "latency": latencyRole, "idle": idleRole,
		"echo": echoRole, "call": callRole, "roundtrip": roundtripRole}
}

// Play plays the one of some roles that args begin with, and says whether there is one.
func Play(roles map[string]Role, args []string) bool {
	if len(args) == 0 {
		return false
	}
	r, ok := roles[args[0]]
	if ok {
		runRole(r, args[1:])
	}
	return ok
}

// Options are what roles are told on their command lines. Each looks at those that concern it.
type Options struct {
	Listen string
	To     []string
	ports  int
	conns  int
	bytes  int64
	size   int
	count  int
	rate   int
	verify bool
	certs  string
}

// serverTLS returns what a target shows, nil if it speaks no TLS.
func (o Options) serverTLS() *tls.Config {
	if o.certs == "" {
		return nil
	}
	return certsIn(o.certs).ServerTLS()
}

// clientTLS returns what a sender trusts, nil if it speaks no TLS.
func (o Options) clientTLS() *tls.Config {
	if o.certs == "" {
		return nil
	}
	return certsIn(o.certs).ClientTLS()
}

func parseRole(args []string) (o Options, err error) {
	flags := flag.NewFlagSet("role", flag.ContinueOnError)
	flags.StringVar(&o.Listen, "listen", "", "address to listen on")
	flags.Func("to", "comma-separated addresses to connect to, used in turn", func(list string) error {
		o.To = strings.Split(list, ",")
		return nil
	})
	flags.IntVar(&o.ports, "ports", 2, "addresses to listen on")
	flags.IntVar(&o.conns, "conns", 1, "connections")
	flags.Int64Var(&o.bytes, "bytes", 0, "bytes over all connections, in whole lines")
	flags.IntVar(&o.size, "size", 600, "bytes per line or message")
	flags.IntVar(&o.count, "count", 40000, "lines or messages to send")
	flags.IntVar(&o.rate, "rate", 4000, "lines per second")
	flags.BoolVar(&o.verify, "verify", false, "look at every line")
	flags.StringVar(&o.certs, "certs", "", "folder of certificates; with it, speak TLS")
	return o, flags.Parse(args)
}

func runRole(r Role, args []string) {
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	o, err := parseRole(args)
	if err == nil {
		err = r(o, bufio.NewScanner(os.Stdin), say)
	}
	if err != nil {
		say("error %v", err)
		os.Exit(1)
	}
}
