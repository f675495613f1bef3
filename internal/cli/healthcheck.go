package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"linesplit/internal/config"
	"linesplit/internal/ctl"
	"linesplit/internal/flags"
)

// healthTimeout bounds a health check: looking up a name, connecting and answering.
const healthTimeout = 2 * time.Second

const healthUsage = `Usage: linesplit healthcheck [-admin ADDRESS] [-config FILE]

Asks the linesplit that serves that admin address whether it is alive. Exit code 0: it is alive;
1: it is not; 2: there is no address to ask. Without -admin the address is LINESPLIT_ADMIN, or admin
in the file.
`

func healthcheckCommand() command {
	return command{
		name:    "healthcheck",
		summary: "Ask a running linesplit whether it is alive",
		text:    healthUsage,
		options: []flags.Option{
			{Name: "admin", Arg: "ADDRESS", Group: groupConnection,
				Help: "address to ask: that of linesplit's own -admin"},
			{Name: "config", Arg: "FILE", Group: groupConnection,
				Help: "file to take the address from: that of linesplit's own -config"},
		},
		run: runHealthcheck,
	}
}

// runHealthcheck serves container engines and supervisors. It takes the address from where
// linesplit itself takes -admin, and prints nothing if linesplit is alive, and one line otherwise.
func runHealthcheck(ctx context.Context, in invocation) int {
	address, err := healthAddress(in.command, in.args)
	if errors.Is(err, flag.ErrHelp) {
		return in.answer(func(w io.Writer) { fmt.Fprint(w, healthUsage) })
	}
	if err != nil {
		return in.fail(exitUsage, err)
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if err := askHealth(ctx, address); err != nil {
		return in.fail(exitFailed, err)
	}
	return exitOK
}

// healthAddress returns the address to ask, from the flag, the environment or the file. The error
// is flag.ErrHelp, or the first fault.
func healthAddress(c command, args []string) (string, error) {
	s, err := c.parse(args)
	if err != nil {
		return "", err
	}
	// The other keys of the file are for linesplit itself.
	s.ParseEnvAndFile(flags.FileOptions{EnvPrefix: config.EnvPrefix, FileFlag: "config", IgnoreUnknown: true})
	address := s.Text("admin")
	if address == "" && s.Err() == nil {
		return "", errors.New("no address to ask: give -admin ADDRESS or set LINESPLIT_ADMIN, as for linesplit itself")
	}
	if err := ctl.CheckAddress(address); err != nil && s.OK("admin") {
		s.Fail("admin", err)
	}
	if faults, found := errors.AsType[flags.Errors](s.Err()); found {
		return "", faults[0]
	}
	return dialable(address), nil
}

// dialable turns an address to listen on into one to dial: where it stands for every address of the
// machine, that is the loopback address.
func dialable(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if found && scheme != "unix" {
		return scheme + "://" + dialable(rest)
	}
	host, port, err := net.SplitHostPort(address)
	if found || err != nil {
		return address
	}
	switch ip := net.ParseIP(host); {
	case host == "":
		host = "localhost"
	case ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// askHealth accepts any certificate: the request contains no secret, and the process runs on the
// same machine.
func askHealth(ctx context.Context, address string) error {
	client, err := ctl.NewClient(ctl.Options{Address: address, TLS: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		return err
	}
	defer client.Close()
	err = client.Alive(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer from %s within %v", address, healthTimeout)
	}
	return err
}
