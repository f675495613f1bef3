package main

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

	"github.com/peterbourgon/ff/v3"

	"linesplit/internal/ctl"
)

// healthTimeout bounds a health check: looking up a name, connecting and answering.
const healthTimeout = 2 * time.Second

const healthUsage = `Usage: linesplit healthcheck [-admin ADDRESS] [-config FILE]

Asks the linesplit that serves that admin address whether it is alive: exit 0 if so, 1 if not, 2 if there is no
address to ask. Without -admin it is LINESPLIT_ADMIN, or admin in the file.
`

// healthcheck is the command of that name, for container engines and supervisors. It takes -admin from where linesplit
// itself takes it, prints nothing if all is well and one line if not, and returns the exit code.
func healthcheck(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	address, err := healthAddress(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, healthUsage)
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "linesplit healthcheck: %v\n", err)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if err := askHealth(ctx, address); err != nil {
		fmt.Fprintf(stderr, "linesplit healthcheck: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// healthAddress returns the address to ask, from the flag, the environment or the file.
func healthAddress(args []string) (string, error) {
	flags := flag.NewFlagSet("healthcheck", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	admin := flags.String("admin", "", "")
	flags.String("config", "", "")
	err := ff.Parse(flags, args,
		ff.WithEnvVarPrefix(envPrefix),
		ff.WithConfigFileFlag("config"),
		ff.WithConfigFileParser(ff.PlainParser),
		ff.WithIgnoreUndefined(true)) // the other keys are for linesplit itself
	switch {
	case err != nil:
		return "", err
	case flags.NArg() > 0:
		return "", fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *admin == "":
		return "", errors.New("no address to ask: give -admin ADDRESS or set LINESPLIT_ADMIN, to what linesplit runs with")
	}
	if _, err := parseAdmin(*admin); err != nil {
		return "", fmt.Errorf("-admin %q: %w", *admin, err)
	}
	return dialable(*admin), nil
}

// dialable turns an address that one listens on into one to dial: where it means every address, loopback is one of them.
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

// askHealth trusts whatever certificate is shown: it says nothing secret, and the process is the one beside us.
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
