package proof

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

// Own is the template that starts linesplit itself, in line mode. {flags} is what a scenario needs to take seconds instead of minutes, such
// as a short -stall-timeout; a template without it goes without.
const Own = "{self} -listen tcp://{listen} -target {targets} {flags}"

// words are what a command template may hold, each with what stands for it.
var words = []string{"{self}", "{listen}", "{targets}", "{config}", "{ca}", "{flags}"}

// Template starts a proxy. It is read-only once it is parsed.
type Template struct {
	fields []string           // of the command, as a shell would split it
	config *template.Template // nil: none
	self   string             // path of linesplit
	tls    bool               // it can be told of targets that speak TLS
}

// ParseTemplate reads a command template, and the text of a configuration file where the command has {config}.
//
// The command is split at spaces; quotes keep them. Its words are {listen} and {targets} (comma separated), both as host:port, {config} and
// {ca} (paths of files), {self} (the path of linesplit) and {flags} (see Own). The configuration is a text/template with .Listen,
// .Targets, .TLS (whether targets speak it), .CA and .Dir (a directory for anything), and the functions host and port.
func ParseTemplate(command, config, self string) (Template, error) {
	fields, err := splitCommand(command)
	t := Template{fields: fields, self: self, tls: strings.Contains(command, "{ca}") || strings.Contains(command, "{flags}") || strings.Contains(config, ".TLS")}
	switch uses := strings.Contains(command, "{config}"); {
	case err != nil:
		return t, err
	case len(fields) == 0:
		return t, errors.New("no command: write haproxy -db -f {config}, for example")
	case uses && config == "":
		return t, errors.New("the command has {config}, and there is no configuration")
	case !uses && config != "":
		return t, errors.New("there is a configuration, and the command has no {config}")
	case !uses && !strings.Contains(command, "{listen}"), !uses && !strings.Contains(command, "{targets}"):
		return t, errors.New("the command needs {listen} and {targets}, or a {config} that has them")
	}
	if err := checkWords(fields); err != nil {
		return t, err
	}
	if config == "" {
		return t, nil
	}
	t.config, err = template.New("configuration").Option("missingkey=error").Funcs(template.FuncMap{"host": host, "port": port}).Parse(config)
	if err == nil {
		err = t.config.Execute(new(bytes.Buffer), example)
	}
	return t, err
}

// example is what a configuration is tried with before anything starts.
var example = values{Listen: "127.0.0.1:9000", Targets: []string{"127.0.0.1:9001", "127.0.0.1:9002"}, TLS: true, CA: "/ca.pem", Dir: "/tmp"}

func host(address string) (string, error) {
	h, _, err := net.SplitHostPort(address)
	return h, err
}

func port(address string) (string, error) {
	_, p, err := net.SplitHostPort(address)
	return p, err
}

// checkWords looks for {something} that is no word.
func checkWords(fields []string) error {
	for _, field := range fields {
		for rest := field; ; {
			_, after, found := strings.Cut(rest, "{")
			name, behind, closed := strings.Cut(after, "}")
			if !found || !closed {
				break
			}
			if word := "{" + name + "}"; !slices.Contains(words, word) {
				return fmt.Errorf("unknown word %s: there are %s", word, strings.Join(words, " "))
			}
			rest = behind
		}
	}
	return nil
}

// splitCommand splits at spaces, except between quotes of either kind.
func splitCommand(command string) (fields []string, err error) {
	var field strings.Builder
	var quote rune
	begun := false
	for _, r := range command {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			field.WriteRune(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if begun {
				fields = append(fields, field.String())
			}
			field.Reset()
			begun = false
		default:
			field.WriteRune(r)
			begun = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	}
	if begun {
		fields = append(fields, field.String())
	}
	return fields, nil
}

// values are what a template is filled with.
type values struct {
	Listen  string   // host:port
	Targets []string // host:port each
	TLS     bool     // targets speak it
	CA      string   // path of the certificate that they can be known by
	Dir     string   // for files of the proxy
	Flags   []string // of linesplit
}

// fill returns the command, and writes the configuration into the directory in v.
func (t Template) fill(v values) ([]string, error) {
	file := filepath.Join(v.Dir, "proxy.conf")
	if t.config != nil {
		var text bytes.Buffer
		if err := t.config.Execute(&text, v); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			return nil, err
		}
	}
	fill := strings.NewReplacer("{self}", t.self, "{listen}", v.Listen, "{targets}", strings.Join(v.Targets, ","), "{config}", file, "{ca}", v.CA,
		"{flags}", strings.Join(v.Flags, " "))
	var args []string
	for _, field := range t.fields {
		if field == "{flags}" {
			args = append(args, v.Flags...)
			continue
		}
		args = append(args, fill.Replace(field))
	}
	return args, nil
}
