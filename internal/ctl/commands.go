package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"linesplit/admin"
	"linesplit/internal/flags"
	"linesplit/relay"
	"linesplit/target"
)

// session is one run of a command.
type session struct {
	*Client
	out     io.Writer
	json    bool
	service string // that commands are about; empty for the only one
}

// command is one entry of the table that the help, Check and Run read.
type command struct {
	name string
	args string // as in the help, one word each; in brackets if it may be left out
	help string
	run  func(ctx context.Context, s *session, args []string) error
	// check judges the arguments as far as linesplit need not be asked. Nil: they are names.
	check func(args []string) error
}

func commands() []command {
	return []command{
		{name: "status", help: "mode, listeners, rates and memory", run: status},
		{name: "targets", help: "all targets: state, connections, rates, lines, windows, errors, sources", run: targets},
		{name: "connections", args: "[LIMIT]", help: "inbound connections, the oldest first (100 of them)",
			run: connections, check: checkConnections},
		{name: "ledger", help: "where every line is: confirmed, retained, queued, dropped (line mode)", run: ledger},
		{name: "spool", help: "the spool: size, lines that wait, age, time to empty, faults (with -spool)",
			run: spool},
		{name: "config", help: "the settings in force, and where each comes from", run: config},
		{name: "services", help: "all services: mode, readiness, connections, targets, listeners", run: services},
		{name: "top", help: "status and targets every second, until interrupted", run: top},
		{name: "add", args: "ADDRESS", help: "add a target; ADDRESS is written as in -target, GROUP=ADDRESS as in -group", run: add,
			check: checkAddress},
		{name: "drain", args: "NAME", help: "send a target nothing new, and let its connections finish",
			run: targetCommand(http.MethodPost, "/drain")},
		{name: "resume", args: "NAME", help: "undo drain", run: targetCommand(http.MethodPost, "/resume")},
		{name: "remove", args: "NAME", help: "drain a target, then remove it", run: targetCommand(http.MethodDelete, "")},
		{name: "weight", args: "NAME N", help: "change a target's share of the connections", run: weight, check: checkWeight},
		{name: "balance", args: "RULE", help: "change how targets are chosen (connection mode)", run: balance,
			check: checkRule},
		{name: "reload", help: "read the configuration file again", run: reload},
	}
}

// Usage returns the list of commands for the help.
func Usage() string {
	var b strings.Builder
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-22s %s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
	}
	return b.String()
}

// Check reports what is wrong with the words of a command. It sends no request.
func Check(words []string) error {
	_, err := find(words)
	return err
}

// Run carries out the command given by words, and writes the answer to out: as JSON if asJSON is
// set, otherwise as text. Its error is a *RefusedError, an *UnreachableError, one that Check
// returns, or one from writing to out.
func Run(ctx context.Context, c *Client, out io.Writer, asJSON bool, words []string) error {
	command, err := find(words)
	if err != nil {
		return err
	}
	return withServiceHint(command.run(ctx, &session{Client: c, out: out, json: asJSON, service: c.service}, words[1:]))
}

func find(words []string) (command, error) {
	all := commands()
	if len(words) == 0 {
		return command{}, errors.New("no command: write one of " + names(all))
	}
	i := slices.IndexFunc(all, func(c command) bool { return c.name == words[0] })
	if i < 0 {
		return command{}, fmt.Errorf("unknown command %q: %swrite one of %s", words[0], didYouMean(words[0], all), names(all))
	}
	wanted := strings.Fields(all[i].args)
	minArgs := len(wanted)
	if strings.HasPrefix(all[i].args, "[") {
		minArgs = 0
	}
	if n := len(words) - 1; n < minArgs || n > len(wanted) {
		return command{}, fmt.Errorf("arguments given to %s: %d; write %s", words[0], n,
			strings.TrimSpace(all[i].name+" "+all[i].args))
	}
	return all[i], all[i].judge(words[1:])
}

// judge returns what is wrong with the arguments of c.
func (c command) judge(args []string) error {
	for i, arg := range args {
		if arg == "" {
			return fmt.Errorf("%s: %s is empty", c.name, strings.Trim(strings.Fields(c.args)[i], "[]"))
		}
	}
	if c.check == nil {
		return nil
	}
	return c.check(args)
}

// The largest arguments that linesplit takes.
const (
	maxLimit  = 10_000
	maxWeight = 1_000_000
)

func checkConnections(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return checkNumber("limit", args[0], maxLimit)
}

func checkWeight(args []string) error { return checkNumber("weight", args[1], maxWeight) }

func checkAddress(args []string) error {
	_, address, _ := target.CutGroup(args[0])
	_, err := target.ParseAddress(address, false)
	return err
}

func checkRule(args []string) error {
	_, err := relay.ParseBalance(args[0])
	return err
}

func checkNumber(what, text string, high int) error {
	if n, err := strconv.Atoi(text); err != nil || n < 1 || n > high {
		return fmt.Errorf("%s %q: write a whole number from 1 to %d", what, text, high)
	}
	return nil
}

func didYouMean(word string, all []command) string {
	near := flags.Nearest(word, strings.Split(names(all), ", "))
	if near == "" {
		return ""
	}
	return "did you mean " + near + "? If not, "
}

func names(all []command) string {
	var list []string
	for _, c := range all {
		list = append(list, c.name)
	}
	return strings.Join(list, ", ")
}

// show sends a request and writes the answer: unchanged with -json, otherwise decoded and
// formatted by text.
func show[T any](ctx context.Context, s *session, method, path string, body any, text func(io.Writer, T)) error {
	answer, err := s.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	if s.json {
		_, err := s.out.Write(printableJSON(answer))
		return err
	}
	var value T
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &value); err != nil {
			return &UnreachableError{fmt.Errorf("this version of linesplit does not understand the answer of %s: %w",
				s.address, err)}
		}
	}
	var page bytes.Buffer
	text(&page, value)
	_, err = s.out.Write(page.Bytes())
	return err
}

func get[T any](ctx context.Context, s *session, path string, text func(io.Writer, T)) error {
	return show(ctx, s, http.MethodGet, path, nil, text)
}

func status(ctx context.Context, s *session, _ []string) error {
	return getEach(ctx, s, "/status", writeStatus)
}

func targets(ctx context.Context, s *session, _ []string) error {
	return getEach(ctx, s, "/targets", func(w io.Writer, l targetList) {
		writeTargets(w, l.Targets)
		writeSources(w, l.Sources)
	})
}

func ledger(ctx context.Context, s *session, _ []string) error {
	return getEach(ctx, s, "/ledger", writeLedger)
}

func config(ctx context.Context, s *session, _ []string) error {
	return get(ctx, s, "/config", writeConfig)
}

func connections(ctx context.Context, s *session, args []string) error {
	path := "/connections"
	if len(args) > 0 {
		path += "?limit=" + url.QueryEscape(args[0])
	}
	return getEach(ctx, s, path, writeConnections)
}

// Bodies of answers that have no type in package admin.
type (
	targetList struct {
		Targets []admin.TargetStatus
		Sources []admin.SourceStatus
	}
	connectionList struct{ Connections []admin.Connection }
	settingList    struct{ Settings []admin.Setting }
	reloaded       struct {
		Changed     []string `json:"changed"`
		NeedRestart []string `json:"need_restart"`
	}
)

func add(ctx context.Context, s *session, args []string) error {
	body := map[string]string{"address": args[0]}
	return show(ctx, s, http.MethodPost, "/targets", body,
		func(w io.Writer, l targetList) {
			writeTargets(w, l.Targets)
			writeSources(w, l.Sources)
		})
}

// targetCommand returns a command that takes the name of a target. Its answer is the target, or
// nothing once the target is removed.
func targetCommand(method, verb string) func(context.Context, *session, []string) error {
	return func(ctx context.Context, s *session, args []string) error {
		return onTarget(ctx, s, args[0], func(name string) error {
			return show(ctx, s, method, "/targets/"+url.PathEscape(name)+verb, nil,
				func(w io.Writer, t admin.TargetStatus) {
					if t.Name == "" {
						fmt.Fprintf(w, "%s is removed\n", name)
						return
					}
					writeTargets(w, []admin.TargetStatus{t})
				})
		})
	}
}

func weight(ctx context.Context, s *session, args []string) error {
	n, _ := strconv.Atoi(args[1]) // checkWeight has read it
	body := map[string]int{"weight": n}
	return onTarget(ctx, s, args[0], func(name string) error {
		return show(ctx, s, http.MethodPut, "/targets/"+url.PathEscape(name)+"/weight", body,
			func(w io.Writer, t admin.TargetStatus) { writeTargets(w, []admin.TargetStatus{t}) })
	})
}

func balance(ctx context.Context, s *session, args []string) error {
	body := map[string]string{"rule": args[0]}
	return show(ctx, s, http.MethodPut, "/balance", body, func(w io.Writer, b struct{ Rule string }) {
		fmt.Fprintf(w, "new connections are balanced by %s\n", printable(b.Rule))
	})
}

func reload(ctx context.Context, s *session, _ []string) error {
	return show(ctx, s, http.MethodPost, reloadPath, nil, func(w io.Writer, r reloaded) {
		if len(r.Changed) == 0 {
			fmt.Fprintln(w, "nothing has changed")
		} else {
			fmt.Fprintf(w, "changed: %s\n", printable(strings.Join(r.Changed, ", ")))
		}
		if len(r.NeedRestart) > 0 {
			fmt.Fprintf(w, "take effect only after a restart: %s\n", printable(strings.Join(r.NeedRestart, ", ")))
		}
	})
}
