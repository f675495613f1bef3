package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"linesplit/admin"
	"linesplit/internal/flags"
)

// maxNames bounds how many targets a message lists.
const maxNames = 8

// onTarget calls do with the name of the target that a user must mean: linesplit logs a request for
// a name that it does not know as a failed change. If there is no such target, the error of do says
// so, and onTarget adds the names that there are.
func onTarget(ctx context.Context, s *session, written string, do func(name string) error) error {
	known, err := s.targetNames(ctx)
	if _, unreachable := errors.AsType[*UnreachableError](err); unreachable {
		return err
	}
	name := written
	if found := meant(written, known); found != "" && !slices.Contains(known, written) {
		name = found
	}
	err = do(name)
	if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Status != http.StatusNotFound || known == nil {
		return err
	}
	return fmt.Errorf("%w%s", err, hint(written, known))
}

// targetNames returns the names of the service's targets, or those of all services if there are
// several and the session is about none of them.
func (s *session) targetNames(ctx context.Context) ([]string, error) {
	answer, err := s.do(ctx, http.MethodGet, "/targets", nil)
	if several(err) {
		return s.allTargetNames(ctx)
	}
	if err != nil {
		return nil, err
	}
	var list targetList
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, err
	}
	return addNames(nil, list.Targets), nil
}

func (s *session) allTargetNames(ctx context.Context) ([]string, error) {
	all, err := s.services(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, one := range all {
		names = addNames(names, one.Targets)
	}
	return names, nil
}

// addNames adds the names of targets that are not among names yet.
func addNames(names []string, targets []admin.TargetStatus) []string {
	for _, t := range targets {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	return names
}

// meant returns the one name that differs from what was written in nothing but its options, its
// case and a scheme that was left out, or nothing.
func meant(written string, names []string) (found string) {
	for _, name := range names {
		if strings.EqualFold(bare(name), bare(written)) && (scheme(written) == "" || scheme(written) == scheme(name)) {
			if found != "" {
				return ""
			}
			found = name
		}
	}
	return found
}

// scheme returns the part of a name before "://", in lower case, or nothing.
func scheme(name string) string {
	if before, _, found := strings.Cut(name, "://"); found {
		return strings.ToLower(before)
	}
	return ""
}

// bare returns a name without scheme and options. A name without a host is on this machine.
func bare(name string) string {
	if _, rest, found := strings.Cut(name, "://"); found {
		name = rest
	}
	name, _, _ = strings.Cut(name, "?")
	if strings.HasPrefix(name, ":") {
		name = "127.0.0.1" + name
	}
	return name
}

func hint(written string, names []string) string {
	var bares []string
	for _, name := range names {
		bares = append(bares, bare(name))
	}
	near := flags.Nearest(bare(written), bares)
	for i := range bares {
		if near != "" && bares[i] == near {
			return ": did you mean " + names[i] + "?"
		}
	}
	if len(names) > maxNames {
		return "; linesplit ctl targets lists all names"
	}
	return "; there are " + strings.Join(names, ", ")
}
