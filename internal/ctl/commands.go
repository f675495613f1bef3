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
)

// session is one command that is being carried out.
type session struct {
	*Client
	out  io.Writer
	json bool
}

// command is what the first word names.
type command struct {
	name string
	args string // as the help has them, one word each
	help string
	run  func(ctx context.Context, s *session, args []string) error
}

func commands() []command {
	return []command{
		{"status", "", "what it is doing, in a few lines", status},
		{"targets", "", "all targets: state, connections, rates, windows, last errors", targets},
		{"connections", "[LIMIT]", "who is connected, the oldest first (100)", connections},
		{"ledger", "", "where all lines are (line mode)", ledger},
		{"config", "", "the settings in force, and where each comes from", config},
		{"top", "", "status and targets, live, until interrupted", top},
		{"add", "ADDRESS", "add a target, written as -target takes it", add},
		{"drain", "NAME", "give a target nothing new, and let what it has end in order", change(http.MethodPost, "/drain")},
		{"resume", "NAME", "undo drain", change(http.MethodPost, "/resume")},
		{"remove", "NAME", "drain a target and forget it", change(http.MethodDelete, "")},
		{"weight", "NAME N", "change a target's share (connection mode)", weight},
		{"balance", "RULE", "change how targets are chosen (connection mode)", balance},
		{"reload", "", "read the configuration file again", reload},
	}
}

// Usage is the part of a help that lists the commands.
func Usage() string {
	var b strings.Builder
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-22s %s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
	}
	return b.String()
}

// Check says what is wrong with the words of a command, before anybody is asked.
func Check(words []string) error {
	_, err := find(words)
	return err
}

// Run carries out the command that words are, and writes the answer to out, as JSON if asked. The error is a *RefusedError, an
// *UnreachableError, one of Check's, or one of writing.
func Run(ctx context.Context, c *Client, out io.Writer, asJSON bool, words []string) error {
	command, err := find(words)
	if err != nil {
		return err
	}
	return command.run(ctx, &session{Client: c, out: out, json: asJSON}, words[1:])
}

func find(words []string) (command, error) {
	all := commands()
	if len(words) == 0 {
		return command{}, errors.New("no command: there are " + names(all))
	}
	i := slices.IndexFunc(all, func(c command) bool { return c.name == words[0] })
	if i < 0 {
		return command{}, fmt.Errorf("no command %q: there are %s", words[0], names(all))
	}
	wanted := strings.Fields(all[i].args)
	least := len(wanted)
	if strings.HasPrefix(all[i].args, "[") {
		least = 0
	}
	if n := len(words) - 1; n < least || n > len(wanted) {
		return command{}, fmt.Errorf("%d words behind %s: write %s", n, words[0], strings.TrimSpace(all[i].name+" "+all[i].args))
	}
	return all[i], nil
}

func names(all []command) string {
	var list []string
	for _, c := range all {
		list = append(list, c.name)
	}
	return strings.Join(list, ", ")
}

// show asks, and writes the answer: as it came, or as text makes it of a T.
func show[T any](ctx context.Context, s *session, method, path string, body any, text func(io.Writer, T)) error {
	answer, err := s.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	if s.json {
		_, err := s.out.Write(answer)
		return err
	}
	var value T
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &value); err != nil {
			return &UnreachableError{fmt.Errorf("the answer of %s is not what this version of linesplit knows: %w", s.base, err)}
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
	return get(ctx, s, "/status", writeStatus)
}

func targets(ctx context.Context, s *session, _ []string) error {
	return get(ctx, s, "/targets", func(w io.Writer, l targetList) { writeTargets(w, l.Targets) })
}

func ledger(ctx context.Context, s *session, _ []string) error {
	return get(ctx, s, "/ledger", writeLedger)
}

func config(ctx context.Context, s *session, _ []string) error {
	return get(ctx, s, "/config", writeConfig)
}

func connections(ctx context.Context, s *session, args []string) error {
	path := "/connections"
	if len(args) > 0 {
		path += "?limit=" + url.QueryEscape(args[0])
	}
	return get(ctx, s, path, writeConnections)
}

// The bodies of answers that are not types of package admin.
type (
	targetList     struct{ Targets []admin.TargetStatus }
	connectionList struct{ Connections []admin.Connection }
	settingList    struct{ Settings []admin.Setting }
	reloaded       struct {
		Changed     []string `json:"changed"`
		NeedRestart []string `json:"need_restart"`
	}
)

func add(ctx context.Context, s *session, args []string) error {
	body := map[string]string{"address": args[0]}
	return show(ctx, s, http.MethodPost, "/targets", body, func(w io.Writer, l targetList) { writeTargets(w, l.Targets) })
}

// change is for what takes a target's name and answers with the target, or with nothing once it is gone.
func change(method, verb string) func(context.Context, *session, []string) error {
	return func(ctx context.Context, s *session, args []string) error {
		return show(ctx, s, method, "/targets/"+url.PathEscape(args[0])+verb, nil, func(w io.Writer, t admin.TargetStatus) {
			if t.Name == "" {
				fmt.Fprintf(w, "%s is gone\n", args[0])
				return
			}
			writeTargets(w, []admin.TargetStatus{t})
		})
	}
}

func weight(ctx context.Context, s *session, args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("weight %q: write a number", args[1])
	}
	body := map[string]int{"weight": n}
	return show(ctx, s, http.MethodPut, "/targets/"+url.PathEscape(args[0])+"/weight", body,
		func(w io.Writer, t admin.TargetStatus) { writeTargets(w, []admin.TargetStatus{t}) })
}

func balance(ctx context.Context, s *session, args []string) error {
	body := map[string]string{"rule": args[0]}
	return show(ctx, s, http.MethodPut, "/balance", body, func(w io.Writer, b struct{ Rule string }) {
		fmt.Fprintf(w, "new connections go by %s\n", b.Rule)
	})
}

func reload(ctx context.Context, s *session, _ []string) error {
	return show(ctx, s, http.MethodPost, "/reload", nil, func(w io.Writer, r reloaded) {
		if len(r.Changed) == 0 {
			fmt.Fprintln(w, "nothing has changed")
		} else {
			fmt.Fprintf(w, "changed: %s\n", strings.Join(r.Changed, ", "))
		}
		if len(r.NeedRestart) > 0 {
			fmt.Fprintf(w, "only a restart changes: %s\n", strings.Join(r.NeedRestart, ", "))
		}
	})
}
