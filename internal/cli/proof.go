package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"linesplit/internal/flags"
	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/proof"
)

// Headings in the help of proof.
const (
	groupProxy     = "Proxy"
	groupScenarios = "Scenarios"
)

func proofCommand() command {
	return command{
		name:    "proof",
		summary: "Stage faults against a proxy, and count the lines it loses",
		text: `linesplit proof runs fault scenarios against a proxy for lines, a process that it starts, and
accounts for every line: targets are killed with data unread, stall, vanish, the proxy gets SIGTERM
or is killed, and so on. Senders and targets are its own.

Usage:
  linesplit proof [flags]

It prints one table. Exit code 0: every line arrived, except those that linesplit had not read or,
without a spool, held when it was killed; 1: other lines were lost or corrupted, or a fault could
not be staged; 2: a flag is wrong; 3: the proxy does not start.
`,
		options: proofOptions(),
		examples: `
Examples:
  linesplit proof
  linesplit proof -short -only crashes-unread,full-outage
  linesplit proof -keep-going -proxy 'haproxy -db -f {config}' -config haproxy.cfg
  linesplit proof -report-only -json -proxy '/opt/shipper --in {listen} --out {targets}'
`,
		run: runProof,
	}
}

func proofOptions() []flags.Option {
	return []flags.Option{
		{Name: "proxy", Arg: "COMMAND", Default: proof.Own, Group: groupProxy,
			Help: "starts the proxy. {listen} and {targets} are HOST:PORT, targets comma separated, {config} is the " +
				"file made from -config, {self} is linesplit, {flags} are flags that shorten waiting times for a " +
				"scenario, {ca} is the file with the certificate of targets that speak TLS"},
		{Name: "config", Arg: "FILE", Group: groupProxy,
			Help: "configuration of the proxy, a template: {{.Listen}}, {{range .Targets}}, {{.TLS}}, {{.CA}}, " +
				"{{.Dir}}; {{host .Listen}}, {{port .Listen}}"},
		{Name: "only", Arg: "NAMES", Many: true, Group: groupScenarios,
			Help: "run only these scenarios; repeatable or comma separated; see -list"},
		{Name: "short", Group: groupScenarios,
			Help: "fewer rounds and less data: all scenarios within a minute, if the proxy is linesplit"},
		{Name: "keep-going", Group: groupScenarios,
			Help: "go on after a scenario that the proxy did not pass"},
		{Name: "list", Group: groupScenarios,
			Help: "print the scenarios and exit"},
		{Name: "json", Group: groupOutput,
			Help: "print the result as JSON"},
		{Name: "report-only", Group: groupOutput,
			Help: "exit with 0 also if lines were lost; implies -keep-going"},
	}
}

// proofSettings holds the values of proof's flags.
type proofSettings struct {
	proof.Options
	command    string // as given by -proxy
	list, json bool
	reportOnly bool
}

// parseProof reads proof's command line. The error is flag.ErrHelp, or flags.Errors with every
// fault.
func parseProof(c command, args []string) (proofSettings, error) {
	s, err := c.parse(args)
	if err != nil {
		return proofSettings{}, err
	}
	p := proofSettings{
		command: s.Text("proxy"), list: s.Bool("list"), json: s.Bool("json"), reportOnly: s.Bool("report-only"),
	}
	p.Own = !s.Given("proxy")
	p.Short = s.Bool("short")
	p.KeepGoing = s.Bool("keep-going") || p.reportOnly
	p.Only = s.List("only")
	for _, name := range p.Only {
		if proof.CheckNames([]string{name}) != nil {
			s.FailValue("only", name, errors.New("no such scenario: -list shows all"))
		}
	}
	p.Proxy = proxyTemplate(s, p.command)
	return p, s.Err()
}

func proxyTemplate(s *flags.Set, command string) proof.Template {
	self, err := os.Executable()
	if err != nil {
		s.Fail("proxy", err)
		return proof.Template{}
	}
	config := ""
	if file := s.Text("config"); file != "" {
		text, err := os.ReadFile(file)
		if err == nil && len(text) == 0 {
			err = errors.New("the file is empty")
		}
		if err != nil {
			s.Fail("config", err)
			return proof.Template{}
		}
		config = string(text)
	}
	t, err := proof.ParseTemplate(command, config, self)
	if err != nil {
		s.Fail("proxy", err)
	}
	return t
}

func runProof(ctx context.Context, in invocation) int {
	p, err := parseProof(in.command, in.args)
	if err != nil {
		return in.explain(err)
	}
	if p.list {
		return in.answer(func(w io.Writer) {
			for _, s := range proof.Scenarios() {
				fmt.Fprintf(w, "%-22s %s\n", s.Name, s.About)
			}
		})
	}
	p.HAProxy = findHAProxy()
	ctx, stop := untilInterrupted(ctx)
	defer stop()
	reportProgress(&p.Options, console.New(in.stderr))

	results, err := proof.Run(ctx, p.Options)
	passed := proof.Passed(results)
	if writeErr := p.write(in, results, err == nil && passed); err == nil {
		err = writeErr
	}
	switch {
	case errors.Is(err, context.Canceled):
		return in.fail(exitFailed, errors.New("interrupted"))
	case err != nil:
		return in.fail(exitCannotRun, err)
	case !passed && !p.reportOnly:
		return in.fail(exitFailed, fmt.Errorf("not passed: %s", proof.Failures(results)))
	}
	return exitOK
}

// findHAProxy returns the path of HAProxy, or nothing. Debian installs it in a directory that only
// root's PATH has.
func findHAProxy() string {
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// reportProgress makes a run print its progress and the verdict of each scenario.
func reportProgress(o *proof.Options, con *console.Console) {
	o.Progress = func(p proof.Progress) {
		if con.Due() {
			con.Progress(fmt.Sprintf("%d/%d %s: %s sent, %d received", p.Number, p.Of, p.Scenario, counted(p.Sent, "line"), p.Received))
		}
	}
	o.Done = func(r proof.Result) {
		what := r.Staged
		if what == "" {
			what = r.Note
		}
		con.Say("%s %s: %s", r.Scenario, r.Verdict, what)
	}
}

// proofReport is the output of -json.
type proofReport struct {
	Proxy   string         `json:"proxy"`
	Version string         `json:"version"` // of this linesplit
	Short   bool           `json:"short"`
	Passed  bool           `json:"passed"` // the run came to its end, and the proxy failed no scenario
	Results []proof.Result `json:"results"`
}

// write prints the results on standard output, as a table or as JSON.
func (p proofSettings) write(in invocation, results []proof.Result, passed bool) error {
	if !p.json {
		if len(results) == 0 {
			return nil
		}
		_, err := io.WriteString(in.stdout, proof.Table(results))
		return err
	}
	e := json.NewEncoder(in.stdout)
	e.SetIndent("", "  ")
	return e.Encode(proofReport{
		Proxy: p.command, Version: in.version, Short: p.Short, Passed: passed,
		Results: append([]proof.Result{}, results...), // an empty list, not null
	})
}
