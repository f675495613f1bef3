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

// Own is the template that starts linesplit itself, in line mode. {flags} stands for flags that
// make a scenario take seconds instead of minutes, such as a short -stall-timeout. Other
// templates may leave it out.
const Own = "{self} -listen tcp://{listen} -target {targets} {flags}"

// placeholders are those that a command template may contain.
var placeholders = []string{"{self}", "{listen}", "{targets}", "{config}", "{ca}", "{flags}"}

// Template starts a proxy. ParseTemplate makes it, and nothing changes it afterwards.
type Template struct {
	fields []string           // of the command, as a shell would split it
	config *template.Template // may be nil
	self   string             // path of linesplit
	tls    bool               // can be configured for TLS targets
}

// ParseTemplate parses a command template, and the text of a configuration file if the command
// contains {config}.
//
// The command is split at spaces, except between quotes. Its placeholders are {listen} and
// {targets} (comma separated), both as host:port, {config} and {ca} (paths of files), {self} (the
// path of linesplit) and {flags} (see Own). The configuration is a text/template with .Listen,
// .Targets, .TLS (whether targets speak TLS), .CA and .Dir (a directory for files), and the
// functions host and port.
func ParseTemplate(command, config, self string) (Template, error) {
	fields, err := splitCommand(command)
	t := Template{fields: fields, self: self, tls: strings.Contains(command, "{ca}") ||
		strings.Contains(command, "{flags}") || strings.Contains(config, ".TLS")}
	switch uses := strings.Contains(command, "{config}"); {
	case err != nil:
		return t, err
	case len(fields) == 0:
		return t, errors.New("no command: write haproxy -db -f {config}, for example")
	case uses && config == "":
		return t, errors.New("the command has {config}, but there is no configuration")
	case !uses && config != "":
		return t, errors.New("there is a configuration, but the command has no {config}")
	case !uses && !strings.Contains(command, "{listen}"), !uses && !strings.Contains(command, "{targets}"):
		return t, errors.New("the command needs {listen} and {targets}, or a {config} that has them")
	}
	if err := checkPlaceholders(fields); err != nil {
		return t, err
	}
	if config == "" {
		return t, nil
	}
	t.config, err = template.New("configuration").Option("missingkey=error").Funcs(template.FuncMap{"host": host,
		"port": port}).Parse(config)
	if err == nil {
		err = t.config.Execute(new(bytes.Buffer), example)
	}
	return t, err
}

// example is used to check a configuration before anything starts.
var example = values{Listen: "127.0.0.1:9000", Targets: []string{"127.0.0.1:9001", "127.0.0.1:9002"}, TLS: true,
	CA: "/ca.pem", Dir: "/tmp"}

func host(address string) (string, error) {
	h, _, err := net.SplitHostPort(address)
	return h, err
}

func port(address string) (string, error) {
	_, p, err := net.SplitHostPort(address)
	return p, err
}

// checkPlaceholders returns an error if a field contains an unknown {placeholder}.
func checkPlaceholders(fields []string) error {
	for _, field := range fields {
		for rest := field; ; {
			_, after, found := strings.Cut(rest, "{")
			name, behind, closed := strings.Cut(after, "}")
			if !found || !closed {
				break
			}
			if placeholder := "{" + name + "}"; !slices.Contains(placeholders, placeholder) {
				return fmt.Errorf("unknown placeholder %s: known are %s", placeholder, strings.Join(placeholders, " "))
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

// values are inserted into a template.
type values struct {
	Listen  string   // host:port
	Targets []string // host:port each
	TLS     bool     // targets speak TLS
	CA      string   // path of the certificate of TLS targets
	Dir     string   // for files of the proxy
	Flags   []string // of linesplit
}

// fill returns the command, and writes the configuration into v.Dir.
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
	fill := strings.NewReplacer("{self}", t.self, "{listen}", v.Listen, "{targets}", strings.Join(v.Targets, ","),
		"{config}", file, "{ca}", v.CA,
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
