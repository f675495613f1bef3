//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// A role is what this program does as its own child. It is told what to do line by line on its standard input, answers line by
// line on its standard output, and ends with its input.
type role func(o roleOptions, in *bufio.Scanner, say func(format string, args ...any)) error

// roles returns them by name.
func roles() map[string]role {
	return map[string]role{"sink": sinkRole, "send": sendRole, "latency": latencyRole, "idle": idleRole,
		"echo": echoRole, "call": callRole, "roundtrip": roundtripRole}
}

// play plays the one of some roles that args begin with, and says whether there is one.
func play(roles map[string]role, args []string) bool {
	if len(args) == 0 {
		return false
	}
	r, ok := roles[args[0]]
	if ok {
		runRole(r, args[1:])
	}
	return ok
}

// roleOptions are what roles are told on their command lines. Each looks at those that concern it.
type roleOptions struct {
	listen string
	to     []string
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
func (o roleOptions) serverTLS() *tls.Config {
	if o.certs == "" {
		return nil
	}
	return certsIn(o.certs).ServerTLS()
}

// clientTLS returns what a sender trusts, nil if it speaks no TLS.
func (o roleOptions) clientTLS() *tls.Config {
	if o.certs == "" {
		return nil
	}
	return certsIn(o.certs).ClientTLS()
}

func parseRole(args []string) (o roleOptions, err error) {
	flags := flag.NewFlagSet("role", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "", "address to listen on")
	flags.Func("to", "comma-separated addresses to connect to, used in turn", func(list string) error {
		o.to = strings.Split(list, ",")
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

func runRole(r role, args []string) {
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

// child is a process in one of the roles. It dies with its context, and with this process.
type child struct {
	role string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// spawn starts a child. The caller ends it with stop.
func spawn(ctx context.Context, role string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{role}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return &child{role, cmd, in, bufio.NewScanner(out)}, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// ask writes one line and waits for the answer. See await.
func (c *child) ask(command, word string) ([]string, error) {
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c.role, command, err)
	}
	return c.await(word)
}

// await waits for a line that begins with word, and returns its other fields.
func (c *child) await(word string) ([]string, error) {
	if !c.out.Scan() {
		return nil, fmt.Errorf("%s: ended while we waited for %q: %w", c.role, word, errors.Join(c.out.Err(), io.ErrUnexpectedEOF))
	}
	fields := strings.Fields(c.out.Text())
	if len(fields) == 0 || fields[0] != word {
		return nil, fmt.Errorf("%s: %s", c.role, c.out.Text())
	}
	return fields[1:], nil
}

// scan reads as many figures as there is room for.
func scan(fields []string, to []float64) error {
	if len(fields) != len(to) {
		return fmt.Errorf("%q: %d figures expected", fields, len(to))
	}
	for i, field := range fields {
		var err error
		if to[i], err = strconv.ParseFloat(field, 64); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the child and waits for it.
func (c *child) stop() {
	c.in.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
}
