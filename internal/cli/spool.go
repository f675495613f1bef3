package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"linesplit/internal/flags"
	"linesplit/internal/framing"
	"linesplit/internal/simulate/console"
	"linesplit/spool"
)

// groupExport is a heading in the help of spool.
const groupExport = "Export"

// These are the verbs of linesplit spool.
const (
	spoolList   = "list"
	spoolVerify = "verify"
	spoolExport = "export"
)

const spoolHead = `linesplit spool shows what is in the directory of a spool that no linesplit uses, and changes
nothing there. For the spool of a running linesplit, see linesplit ctl spool.

Usage:
  linesplit spool DIR                 list the segments, and what waits for each group
  linesplit spool verify DIR          read all lines as well, and compare their checksums
  linesplit spool export [flags] DIR  write the lines that wait to standard output, oldest first
`

const spoolExamples = `
Exit codes: 0 done, and nothing is wrong; 1 something is damaged, or could not be written; 2 wrong
usage; 3 the directory is in use, or could not be read.

Examples:
  linesplit spool /var/lib/linesplit/spool
  linesplit spool -json /var/lib/linesplit/spool | jq .unconfirmed.lines
  linesplit spool export -group archive spool | linesplit send -to 10.0.0.1:9999 -file -
  linesplit spool export -quarantined /var/lib/linesplit/spool > damaged
`

func spoolCommand() command {
	return command{
		name:     "spool",
		argument: "[VERB] DIR",
		words:    spoolVerbs(),
		summary:  "Show, verify or export what is in the directory of a spool",
		text:     spoolHead,
		options: []flags.Option{
			{Name: "group", Arg: "NAME", Group: groupExport,
				Help: "write the lines that wait for this group of targets (main is that of -target); without it, those " +
					"that wait for any group, each once"},
			{Name: "quarantined", Group: groupExport,
				Help: "write the content of the quarantine, as it is, in place of the lines that wait"},
			{Name: "framing", Arg: "FRAMING", Default: "newline", Choices: []string{"newline", "nul", "octet"}, Group: groupExport,
				Help: "end lines with newline or nul, or count octets, independent of the framing that they came with"},
			{Name: "embedded-newline", Arg: "RULE", Default: "escape", Choices: []string{"escape", "space", "refuse"}, Group: groupExport,
				Help: "with -framing newline, escape a newline within a line as \\n, write a space for it, or refuse the line " +
					"and leave it out; the same for NUL bytes and -framing nul"},
			{Name: "json", Group: groupOutput,
				Help: "print the report of list and verify as JSON"},
		},
		examples: spoolExamples,
		run:      runSpool,
	}
}

func spoolVerbs() []string { return []string{spoolList, spoolVerify, spoolExport} }

// spoolSettings holds the command line of linesplit spool.
type spoolSettings struct {
	verb, dir string
	json      bool
	export    spool.ExportOptions
}

func parseSpool(s *flags.Set) (spoolSettings, error) {
	o := spoolSettings{json: s.Bool("json")}
	o.export.Group, o.export.Quarantined = s.Text("group"), s.Bool("quarantined")
	o.export.Framing = flags.Parsed(s, "framing", framing.ParseTarget)
	o.export.Embedded = flags.Parsed(s, "embedded-newline", framing.ParseEmbedded)
	var err error
	if o.verb, o.dir, err = splitSpoolWords(s.Arguments()); err != nil {
		s.AddError(err)
		return o, s.Err()
	}
	for _, name := range []string{"group", "quarantined", "framing", "embedded-newline"} {
		if s.Given(name) && o.verb != spoolExport {
			s.Fail(name, fmt.Errorf("only valid with export: linesplit spool export -%s … %s", name, o.dir))
		}
	}
	for _, name := range []string{"framing", "embedded-newline"} {
		if s.Given(name) && o.export.Quarantined {
			s.Fail(name, errors.New("only valid without -quarantined, which writes the bytes as they are"))
		}
	}
	if o.json && o.verb == spoolExport {
		s.Fail("json", errors.New("only valid with list and verify: an export consists of lines"))
	}
	return o, s.Err()
}

// splitSpoolWords reads the arguments: a directory, behind a verb or not.
func splitSpoolWords(words []string) (verb, dir string, err error) {
	switch {
	case len(words) == 0:
		return "", "", errors.New("which directory? Write linesplit spool DIR, with the DIR of -spool")
	case len(words) == 1 && slices.Contains(spoolVerbs(), words[0]):
		return "", "", fmt.Errorf("which directory? Write linesplit spool %s DIR, with the DIR of -spool", words[0])
	case len(words) == 1:
		return spoolList, words[0], nil
	case !slices.Contains(spoolVerbs(), words[0]):
		return "", "", fmt.Errorf("unknown verb %q: write linesplit spool %s DIR", words[0], strings.Join(spoolVerbs(), ", or "))
	case len(words) > 2:
		return "", "", fmt.Errorf("unexpected argument %q: linesplit spool takes one directory", words[2])
	}
	return words[0], words[1], nil
}

func runSpool(ctx context.Context, in invocation) int {
	s, err := in.command.parse(in.args)
	if err != nil {
		return in.explain(err)
	}
	o, err := parseSpool(s)
	if err != nil {
		return in.explain(err)
	}
	ctx, stop := untilInterrupted(ctx)
	defer stop()
	if o.verb == spoolExport {
		return in.exportSpool(ctx, o)
	}
	return in.reportSpool(ctx, o)
}

func (in invocation) reportSpool(ctx context.Context, o spoolSettings) int {
	var report *spool.Report
	var err error
	if o.verb == spoolVerify {
		report, err = in.verifySpool(ctx, o.dir)
	} else {
		report, err = spool.Inspect(ctx, o.dir)
	}
	if err != nil {
		return in.fail(exitCannotRun, err)
	}
	code := in.answer(spoolReport{report, o.verb == spoolVerify}.writer(o.json))
	if code == exitOK && !report.OK() {
		return exitFailed // the report says why
	}
	return code
}

// verifySpool verifies the spool in dir, and shows its progress on standard error.
func (in invocation) verifySpool(ctx context.Context, dir string) (*spool.Report, error) {
	con := console.New(in.stderr)
	defer con.Clear()
	return spool.Verify(ctx, dir, func(done, total int64) {
		if con.Due() {
			con.Progress(fmt.Sprintf("verified %d %% of %s", 100*done/max(1, total), sizeOf(total)))
		}
	})
}

// exportSpool writes lines to standard output, and the account to standard error.
func (in invocation) exportSpool(ctx context.Context, o spoolSettings) int {
	out := bufio.NewWriterSize(in.stdout, 64<<10)
	exported, err := spool.Export(ctx, o.dir, o.export, out)
	if exported == nil {
		return in.fail(exitCannotRun, err)
	}
	if flushErr := out.Flush(); err == nil && flushErr != nil {
		err = fmt.Errorf("write lines: %w", flushErr)
	}
	if err != nil {
		return in.fail(exitFailed, err)
	}
	writeExported(in.stderr, exported)
	if !exported.Report.OK() || exported.Refused > 0 {
		return exitFailed // the account says why
	}
	return exitOK
}
