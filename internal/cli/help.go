package cli

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"linesplit/internal/config"
	"linesplit/internal/flags"
)

const helpHead = `linesplit takes lines from any number of senders and spreads them over many targets, losing none.
With -mode connection it forwards whole connections and datagrams instead.

Usage:
`

const helpSettings = `
Each command has flags of its own: linesplit COMMAND -help.

Each setting is a flag, an environment variable (-max-line is LINESPLIT_MAX_LINE; an empty one
counts as unset) and a key of the -config file; -check, -t, -version and -help are flags only. Flags
win over the environment, the environment over the file.
Sizes: 65536, 64KiB or 64Ki (1024s), 64KB or 64k (1000s). Durations: 500ms, 30s, 5m.
`

const helpExamples = `
Examples:
  linesplit -port 9000 -target 10.0.0.1:9999,10.0.0.2:9999
  linesplit -listen 'unix:///run/linesplit.sock?mode=0660' -target tls://logs.example.com:6514
  linesplit -tls-cert cert.pem -tls-key key.pem -target 10.0.0.1:9999 -admin 127.0.0.1:9091
  producer | linesplit -listen stdin: -target 10.0.0.1:9999
  linesplit -mode connection -port 5432 -target 'db1:5432,db2:5432?backup=true' -health tcp
`

// printHelp writes the help of linesplit itself.
func printHelp(w io.Writer) {
	fmt.Fprint(w, helpHead)
	printUsage(w, "", "[flags]", "Run until SIGTERM")
	for _, c := range commands() {
		printUsage(w, c.name, c.argument, c.summary)
	}
	fmt.Fprint(w, helpSettings)
	flags.PrintOptions(w, config.Options())
	fmt.Fprint(w, helpExamples)
}

// printUsage writes one line of the list of commands.
func printUsage(w io.Writer, name, argument, summary string) {
	usage := strings.TrimSpace(name + " " + argument)
	fmt.Fprintf(w, "  linesplit %-25s %s\n", usage, summary)
}

func (in invocation) printVersion(w io.Writer) {
	fmt.Fprintf(w, "linesplit %s (%s, %s/%s)\n", in.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
