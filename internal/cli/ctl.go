package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"linesplit/internal/config"
	"linesplit/internal/ctl"
	"linesplit/internal/flags"
	"linesplit/tlsconf"
)

const ctlHead = `linesplit ctl shows what a running linesplit does, and changes it, through its admin listener.

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
  linesplit ctl -service syslog targets
`

// defaultAdmin is the address that ctl connects to if neither a flag nor the environment names one.
const defaultAdmin = "127.0.0.1:9091"

func ctlCommand() command {
	return command{
		name:     "ctl",
		argument: "COMMAND",
		words:    ctlWords(),
		summary:  "Show and change a running linesplit through its admin listener",
		text:     ctlHead + ctl.Usage(),
		options: []flags.Option{
			{Name: "admin", Arg: "ADDRESS", Group: groupConnection,
				Default: cmp.Or(os.Getenv(config.EnvName("admin")), defaultAdmin),
				Help: "its admin listener: HOST:PORT, tls://HOST:PORT or unix:///PATH. It has one only if it runs " +
					"with -admin; LINESPLIT_ADMIN changes the default"},
			{Name: "token-file", Arg: "FILE", Group: groupConnection,
				Default: os.Getenv(config.EnvName("admin-token-file")),
				Help:    "file with its token, as in its -admin-token-file; LINESPLIT_ADMIN_TOKEN_FILE changes the default"},
			{Name: "tls-ca", Arg: "FILE", Group: groupConnection,
				Help: "authorities to trust instead of the system's"},
			{Name: "tls-cert", Arg: "FILE", Group: groupConnection,
				Help: "certificate to show, PEM"},
			{Name: "tls-key", Arg: "FILE", Group: groupConnection,
				Help: "key of the certificate, PEM"},
			{Name: "tls-server-name", Arg: "NAME", Group: groupConnection,
				Help: "name that its certificate must have, in place of its host"},
			{Name: "service", Arg: "NAME", Group: groupConnection,
				Help: "the service that the command is about, where a .toml file names several; without it, status, " +
					"targets, ledger, spool, connections, config and top show all of them"},
			{Name: "json", Group: groupOutput,
				Help: "print the answers as JSON, for programs"},
		},
		examples: ctlExamples,
		run:      runCtl,
	}
}

// ctlWords returns the commands of ctl.
func ctlWords() (words []string) {
	for line := range strings.Lines(ctl.Usage()) {
		words = append(words, strings.Fields(line)[0])
	}
	return words
}

func runCtl(ctx context.Context, in invocation) int {
	s, err := in.command.parse(in.args)
	if err == nil && slices.Equal(s.Arguments(), []string{"help"}) {
		err = flag.ErrHelp
	}
	var client *ctl.Client
	if err == nil {
		client, err = newCtlClient(s)
	}
	if err != nil {
		return in.explain(err)
	}
	defer client.Close()
	ctx, stop := untilInterrupted(ctx)
	defer stop()
	err = ctl.Run(ctx, client, in.stdout, s.Bool("json"), s.Arguments())
	if err == nil {
		return exitOK
	}
	if _, unreachable := errors.AsType[*ctl.UnreachableError](err); unreachable {
		return in.fail(exitCannotRun, err)
	}
	return in.fail(exitFailed, err)
}

// newCtlClient reads all values and returns the client that they describe. The error holds every
// fault of the command line.
func newCtlClient(s *flags.Set) (*ctl.Client, error) {
	s.Bool("json")
	if err := ctl.Check(s.Arguments()); err != nil {
		s.AddError(err)
	}
	client, err := ctl.NewClient(ctl.Options{Address: dialable(s.Text("admin")), Token: ctlToken(s), TLS: ctlTLS(s),
		Service: s.Text("service")})
	if err != nil {
		s.Fail("admin", fromVariable(s, "admin", "admin", err))
	}
	return client, s.Err()
}

// fromVariable adds to the error of a flag that has its default the environment variable that the
// default comes from, if it does. The variable is named after another flag, of linesplit itself.
func fromVariable(s *flags.Set, name, other string, err error) error {
	if variable := config.EnvName(other); !s.Given(name) && os.Getenv(variable) != "" {
		return fmt.Errorf("from the environment variable %s: %w", variable, err)
	}
	return err
}

func ctlToken(s *flags.Set) string {
	file := s.Text("token-file")
	if file == "" {
		return ""
	}
	text, err := os.ReadFile(file)
	if err != nil {
		s.Fail("token-file", fromVariable(s, "token-file", "admin-token-file", err))
	}
	token := bytes.TrimSpace(text)
	if bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		s.Fail("token-file", fromVariable(s, "token-file", "admin-token-file",
			errors.New("is not one word of visible ASCII characters: give the file of linesplit's -admin-token-file")))
	}
	return string(token)
}

func ctlTLS(s *flags.Set) *tls.Config {
	s.RequirePair("tls-cert", "tls-key")
	if !strings.HasPrefix(s.Text("admin"), "tls://") && s.OK("admin") {
		refuseTLS(s, "the address does not speak TLS: write tls://HOST:PORT in -admin")
		return nil
	}
	if !s.OK("tls-cert", "tls-key") {
		return nil
	}
	client, err := tlsconf.NewClient(tlsconf.ClientFiles{
		CA: s.Text("tls-ca"), Cert: s.Text("tls-cert"), Key: s.Text("tls-key"), ServerName: s.Text("tls-server-name"),
	})
	if err != nil {
		config.FailFiles(s, err, clientOptions())
		return nil
	}
	return client.Config()
}
