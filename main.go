// Linesplit is a lossless load balancer for line streams: it takes newline-delimited records from
// any number of connections and spreads them over many targets.
//
// The commands and their flags are in internal/cli and internal/config; internal/service wires the
// running parts together. docs/architecture.md lists every package.
package main

import (
	"context"
	"os"

	"linesplit/internal/build"
	"linesplit/internal/cli"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	os.Exit(cli.Main(context.Background(), build.Version(version), os.Args[1:], os.Stdout, os.Stderr))
}
