package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"linesplit/internal/ctl"
	"linesplit/tlsconf"
)

const ctlHead = `linesplit ctl shows what a running linesplit does, and changes it, by its admin listener.

Usage:
  linesplit ctl [flags] COMMAND

Commands:
`

const ctlExamples = `
Exit codes: 0 done; 1 linesplit refused, and said why; 2 wrong usage; 3 it could not be reached.

Examples:
  linesplit ctl targets
  linesplit ctl -token-file token drain tcp://10.0.0.1:9999
  linesplit ctl -admin unix:///run/linesplit/admin.sock top
  linesplit ctl -json ledger | jq .confirmed
`

// defaultAdmin is where ctl looks for linesplit where nothing else is said.
const defaultAdmin = "127.0.0.1:9091"

func ctlCommand() tool {
	return tool{
		name: "ctl",
		head: ctlHead + ctl.Usage(),
		options: []option{
			{"admin", "ADDRESS", cmp.Or(os.Getenv(envName("admin")), defaultAdmin), groupWhere, anyMode,
				"where it is: HOST:PORT, tls://HOST:PORT or unix:///PATH; LINESPLIT_ADMIN changes the default"},
			{"token-file", "FILE", os.Getenv(envName("admin-token-file")), groupWhere, anyMode, "the token that it has as -admin-token-file; LINESPLIT_ADMIN_TOKEN_FILE changes the default"},
			{"tls-ca", "FILE", "", groupWhere, anyMode, "authorities to trust instead of the system's"},
			{"tls-cert", "FILE", "", groupWhere, anyMode, "certificate to show, PEM"},
			{"tls-key", "FILE", "", groupWhere, anyMode, "its key, PEM"},
			{"tls-server-name", "NAME", "", groupWhere, anyMode, "name that its certificate must have, in place of its host"},
			{"json", "", "", groupOther, anyMode, "answers as they come, for programs"},
		},
		examples: ctlExamples,
		words:    true,
	}
}

const groupWhere = "Where linesplit is"

// control is the command ctl. It returns the exit code.
func control(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	t := ctlCommand()
	s, err := t.read(args)
	var client *ctl.Client
	if err == nil {
		client, err = s.client()
	}
	if err != nil {
		return t.explain(err, stdout, stderr)
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = ctl.Run(ctx, client, stdout, s.bool("json"), *s.words)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "linesplit ctl: %v\n", err)
	if _, unreachable := errors.AsType[*ctl.UnreachableError](err); unreachable {
		return exitCannotRun
	}
	return exitFailed
}

// client judges all values and returns whom they name.
func (s *settings) client() (*ctl.Client, error) {
	s.bool("json")
	if err := ctl.Check(*s.words); err != nil {
		s.errs = append(s.errs, err)
	}
	client, err := ctl.NewClient(ctl.Options{Address: dialable(s.text("admin")), Token: s.token(), TLS: s.ctlTLS()})
	if err != nil {
		s.fail("admin", err)
	}
	return client, s.fault()
}

func (s *settings) token() string {
	file := s.text("token-file")
	if file == "" {
		return ""
	}
	text, err := os.ReadFile(file)
	if err != nil {
		s.fail("token-file", err)
	}
	return string(bytes.TrimSpace(text))
}

func (s *settings) ctlTLS() *tls.Config {
	client, err := tlsconf.NewClient(tlsconf.ClientFiles{
		CA: s.text("tls-ca"), Cert: s.text("tls-cert"), Key: s.text("tls-key"), ServerName: s.text("tls-server-name"),
	})
	if err != nil {
		s.failFlat("TLS", err)
		return nil
	}
	return client.Config()
}
