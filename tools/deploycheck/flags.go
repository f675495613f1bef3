package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// commands holds the flags of linesplit's commands by name. The empty name is linesplit without a
// command.
type commands map[string]flags

// flags holds, for each flag, whether it takes a value.
type flags map[string]bool

// askHelp builds linesplit and reads the flags of its commands from their help.
func askHelp(repository string) (commands, error) {
	dir, err := os.MkdirTemp("", "deploycheck")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "linesplit")
	build := exec.Command("go", "build", "-C", repository, "-buildvcs=false", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build linesplit: %w\n%s", err, out)
	}
	all := commands{}
	for _, name := range []string{"", "send", "sink"} {
		args := []string{name, "-help"}
		if name == "" {
			args = args[1:]
		}
		help, err := exec.Command(program, args...).Output()
		if err != nil {
			return nil, fmt.Errorf("linesplit %s: %w", strings.Join(args, " "), err)
		}
		if !strings.HasPrefix(string(help), strings.TrimSpace("linesplit "+name)) {
			continue // there is no such command: this is the help of linesplit itself
		}
		all[name] = parseHelp(string(help))
	}
	return all, nil
}

var helpLine = regexp.MustCompile(`(?m)^  -([a-z0-9-]+)( [A-Z][A-Z:]*)?(  |$)`)

func parseHelp(help string) flags {
	f := flags{}
	for _, match := range helpLine.FindAllStringSubmatch(help, -1) {
		f[match[1]] = match[2] != ""
	}
	return f
}

// parse returns the values of the flags on a command line without the program's name.
func (c commands) parse(args []string) (map[string]string, error) {
	command := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	known, exists := c[command]
	if !exists {
		return nil, fmt.Errorf("no command linesplit %s", command)
	}
	values := map[string]string{}
	for len(args) > 0 {
		name, value, hasValue := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
		takes, exists := known[name]
		switch {
		case !strings.HasPrefix(args[0], "-"):
			return nil, fmt.Errorf("linesplit %s: unexpected argument %q", command, args[0])
		case !exists:
			return nil, fmt.Errorf("linesplit %s has no flag -%s", command, name)
		case takes && !hasValue && len(args) == 1:
			return nil, fmt.Errorf("linesplit %s: -%s wants a value", command, name)
		case takes && !hasValue:
			value, args = args[1], args[1:]
		}
		values[name], args = value, args[1:]
	}
	return values, nil
}

// checkEnvironment returns an error for each LINESPLIT_ variable that sets no flag.
func (c commands) checkEnvironment(names []string) error {
	var errs []error
	for _, name := range names {
		flag, ours := strings.CutPrefix(name, "LINESPLIT_")
		if !ours {
			continue
		}
		if _, exists := c[""][strings.ToLower(strings.ReplaceAll(flag, "_", "-"))]; !exists {
			errs = append(errs, fmt.Errorf("%s sets no flag", name))
		}
	}
	return errors.Join(errs...)
}

// defaultDrain is the default of -drain-timeout.
const defaultDrain = 8 * time.Second

// drain returns how long a linesplit with these flags may take to stop.
func drain(values map[string]string) (time.Duration, error) {
	text, given := values["drain-timeout"]
	if !given {
		return defaultDrain, nil
	}
	return time.ParseDuration(text)
}
