package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"linesplit/internal/convert"
	"linesplit/internal/flags"
	"linesplit/internal/regfile"
)

const convertHead = `linesplit convert turns the configuration of another load balancer into one of linesplit's: a TOML
file with a [service.NAME] for each of its services, in connection mode.

Usage:
  linesplit convert [flags] FILE > linesplit.toml

It reads gobetween's TOML, mixctl's YAML, and the parts of HAProxy's configuration that are of mode
tcp. FILE is - for standard input. A line that has no counterpart becomes a comment that begins with
"no counterpart". A line that says what linesplit does without being told becomes nothing.
`

const convertExamples = `
Exit codes: 0 every line has a counterpart; 1 some have none, or the result could not be written;
2 wrong usage, or the file is no such configuration; 3 the file could not be read.

Examples:
  linesplit convert /etc/haproxy/haproxy.cfg > linesplit.toml
  linesplit convert -from gobetween - < gobetween.conf
  linesplit -check -config linesplit.toml
`

func convertCommand() command {
	return command{
		name:     "convert",
		argument: "FILE",
		words:    []string{},
		summary:  "Turn another load balancer's configuration into linesplit's",
		text:     convertHead,
		options: []flags.Option{
			{Name: "from", Arg: "PROGRAM", Group: groupInput, Choices: originNames(),
				Help: "whose configuration it is: " + strings.Join(originNames(), ", ") + "; told from the name of the " +
					"file and its first line if not given"},
		},
		examples: convertExamples,
		run:      runConvert,
	}
}

func originNames() (names []string) {
	for _, o := range convert.Origins() {
		names = append(names, string(o))
	}
	return names
}

func runConvert(_ context.Context, in invocation) int {
	s, err := in.command.parse(in.args)
	if err != nil {
		return in.explain(err)
	}
	origin := flags.Parsed(s, "from", parseOrigin)
	files := s.Arguments()
	if err := s.Err(); err != nil {
		return in.explain(err)
	}
	switch {
	case len(files) == 0:
		return in.explain(errors.New("which file? Write linesplit convert FILE, or - for standard input"))
	case len(files) > 1:
		return in.explain(fmt.Errorf("unexpected argument %q: linesplit convert takes one file, after all flags", files[1]))
	}
	text, err := readConfiguration(files[0])
	if err != nil {
		return in.fail(exitCannotRun, fmt.Errorf("%s: %w", files[0], err))
	}
	result, err := convert.Convert(convert.Input{Name: files[0], Text: text, Origin: origin, Env: os.LookupEnv})
	if err != nil {
		return in.fail(exitUsage, fmt.Errorf("%s: %w", files[0], err))
	}
	if code := in.answer(func(w io.Writer) { w.Write(result.TOML) }); code != exitOK {
		return code
	}
	if result.Missing > 0 {
		return in.fail(exitFailed, fmt.Errorf("%s: %s without a counterpart: see the comments", files[0],
			counted(uint64(result.Missing), "line")))
	}
	return exitOK
}

func parseOrigin(text string) (convert.Origin, error) {
	if text == "" {
		return "", nil
	}
	for _, o := range convert.Origins() {
		if string(o) == text {
			return o, nil
		}
	}
	return "", errors.New("write " + strings.Join(originNames(), ", "))
}

// readConfiguration reads the file to convert.
func readConfiguration(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, convert.MaxSize+1))
	}
	text, _, err := regfile.Read(name, convert.MaxSize)
	return text, err
}
