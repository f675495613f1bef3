// Dockerlint checks a Dockerfile as "docker build --check" does, by BuildKit's own rules, without an engine. Images are
// not looked up: nothing is fetched.
//
//	dockerlint [DOCKERFILE]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	digest "github.com/opencontainers/go-digest"
)

func main() {
	file := "Dockerfile"
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	if err := lint(context.Background(), file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// lint returns everything that BuildKit warns of in a Dockerfile, or what stops it from being built at all.
func lint(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	source := llb.NewSourceMap(nil, file, "dockerfile", data)
	source.Definition = &llb.Definition{} // where the file came from: the linter wants one, if only an empty one
	results, err := dockerfile2llb.DockerfileLint(ctx, data, dockerfile2llb.ConvertOpt{
		SourceMap:    source,
		MetaResolver: noRegistry{},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var errs []error
	if results.Error != nil {
		errs = append(errs, fmt.Errorf("%s: %s", file, results.Error.Message))
	}
	for _, w := range results.Warnings {
		errs = append(errs, fmt.Errorf("%s:%d: %s: %s (%s)", file, w.Location.GetRanges()[0].GetStart().GetLine(), w.RuleName, w.Detail, w.URL))
	}
	return errors.Join(errs...)
}

// noRegistry knows every image, and nothing of any.
type noRegistry struct{}

// ResolveImageConfig returns an empty configuration.
func (noRegistry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config := []byte("{}")
	return ref, digest.FromBytes(config), config, nil
}
