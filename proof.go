package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/proof"
)

const (
	groupProxy     = "What is tried"
	groupScenarios = "How"
	groupResult    = "What comes of it"
)

// proofCommand is the command of that name.
func proofCommand() tool {
	return tool{
		name: "proof",
		head: `linesplit proof runs fault scenarios against a proxy for lines, a process that it starts, and
accounts for every line: targets are killed with data unread, stall, vanish, the proxy gets SIGTERM,
and so on. Senders and targets are its own.

Usage:
  linesplit proof [flags]

It prints one table. Exit code 0: every line arrived; 1: lines were lost or corrupted, or a fault
could not be staged; 2: a flag is wrong; 3: the proxy does not start.
`,
		options: []option{
			{"proxy", "COMMAND", proof.Own, groupProxy, anyMode, "starts the proxy. {listen} and {targets} are HOST:PORT, targets comma separated, {config} is the file " +
				"made of -config, {self} is linesplit, {flags} what a scenario has it wait for, {ca} the file with the certificate of targets that speak TLS"},
			{"config", "FILE", "", groupProxy, anyMode, "configuration of the proxy, a template: {{.Listen}}, {{range .Targets}}, {{.TLS}}, {{.CA}}, {{.Dir}}; {{host .Listen}}, {{port .Listen}}"},
			{"only", "NAMES", "", groupScenarios, anyMode, "these scenarios alone; repeatable or comma separated; see -list"},
			{"short", "", "", groupScenarios, anyMode, "fewer rounds and less data: all scenarios within a minute, if the proxy is linesplit"},
			{"keep-going", "", "", groupScenarios, anyMode, "go on after a scenario that the proxy did not pass"},
			{"list", "", "", groupScenarios, anyMode, "print the scenarios and exit"},
			{"json", "", "", groupResult, anyMode, "print the result as JSON"},
			{"report-only", "", "", groupResult, anyMode, "exit with 0 also if lines were lost; implies -keep-going"},
		},
		examples: `
Examples:
  linesplit proof
  linesplit proof -short -only crashes-unread,full-outage
  linesplit proof -keep-going -proxy 'haproxy -db -f {config}' -config haproxy.cfg
  linesplit proof -report-only -json -proxy '/opt/shipper --in {listen} --out {targets}'
`,
	}
}

// proofSettings are what the flags say.
type proofSettings struct {
	proof.Options
	command    string
	list, json bool
	reportOnly bool
}

// parseProof returns flag.ErrHelp or all that is wrong.
func parseProof(t tool, args []string) (proofSettings, error) {
	s, err := t.read(args)
	if err != nil {
		return proofSettings{}, err
	}
	p := proofSettings{command: s.text("proxy"), list: s.bool("list"), json: s.bool("json"), reportOnly: s.bool("report-only")}
	p.Own = !s.byName["proxy"].explicit()
	p.Short = s.bool("short")
	p.KeepGoing = s.bool("keep-going") || p.reportOnly
	p.Only = s.list("only")
	for _, name := range p.Only {
		if proof.CheckNames([]string{name}) != nil {
			s.failValue("only", name, errors.New("no such scenario: -list shows all"))
		}
	}
	p.Proxy = s.proxyTemplate(p.command)
	return p, s.fault()
}

func (s *settings) proxyTemplate(command string) proof.Template {
	self, err := os.Executable()
	if err != nil {
		s.fail("proxy", err)
		return proof.Template{}
	}
	config := ""
	if file := s.text("config"); file != "" {
		text, err := os.ReadFile(file)
		if err == nil && len(text) == 0 {
			err = errors.New("the file is empty")
		}
		if err != nil {
			s.fail("config", err)
			return proof.Template{}
		}
		config = string(text)
	}
	t, err := proof.ParseTemplate(command, config, self)
	if err != nil {
		s.fail("proxy", err)
	}
	return t
}

// proofTool is the command and returns the exit code.
func proofTool(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	t := proofCommand()
	p, err := parseProof(t, args)
	if err != nil {
		return t.explain(err, stdout, stderr)
	}
	if p.list {
		for _, s := range proof.Scenarios() {
			fmt.Fprintf(stdout, "%-22s %s\n", s.Name, s.About)
		}
		return exitOK
	}
	p.HAProxy = findHAProxy()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	follow(&p.Options, console.New(stderr))

	results, err := proof.Run(ctx, p.Options)
	if writeErr := p.write(stdout, results, err == nil && proof.Passed(results)); err == nil {
		err = writeErr
	}
	return p.exitCode(results, err, stderr)
}

// findHAProxy returns the path of HAProxy, or nothing: Debian has it where only root looks.
func findHAProxy() string {
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// follow shows how far a run is.
func follow(o *proof.Options, con *console.Console) {
	o.Progress = func(p proof.Progress) {
		if con.Due() {
			con.Progress(fmt.Sprintf("%d/%d %s: %d lines sent, %d received", p.Number, p.Of, p.Scenario, p.Sent, p.Received))
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

// proofReport is what -json prints.
type proofReport struct {
	Proxy   string         `json:"proxy"`
	Version string         `json:"version"` // of this linesplit
	Short   bool           `json:"short"`
	Passed  bool           `json:"passed"` // the run came to its end, and nothing speaks against the proxy
	Results []proof.Result `json:"results"`
}

func (p proofSettings) write(w io.Writer, results []proof.Result, passed bool) error {
	if !p.json {
		if len(results) == 0 {
			return nil
		}
		_, err := io.WriteString(w, proof.Table(results))
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(proofReport{p.command, buildVersion(), p.Short, passed, append([]proof.Result{}, results...)})
}

// exitCode says what was not well.
func (p proofSettings) exitCode(results []proof.Result, err error, stderr io.Writer) int {
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "linesplit proof: interrupted")
		return exitFailed
	case err != nil:
		fmt.Fprintf(stderr, "linesplit proof: %v\n", err)
		return exitCannotRun
	case p.reportOnly || proof.Passed(results):
		return exitOK
	}
	fmt.Fprintf(stderr, "linesplit proof: not passed: %s\n", proof.Failures(results))
	return exitFailed
}
