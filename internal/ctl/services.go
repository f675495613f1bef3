package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"linesplit/admin"
)

// severalServices ends the type of linesplit's answer to a request that names no service where
// there are several.
const severalServices = ":several-services"

// unknownService ends the type of the answer to a request about a service that is not there.
const unknownService = ":unknown-service"

// do sends a request about the service of the session, if it has one.
func (s *session) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	if s.service != "" && path != reloadPath {
		path = servicesPath + "/" + url.PathEscape(s.service) + path
	}
	return s.Client.do(ctx, method, path, body)
}

const (
	servicesPath = "/services"
	reloadPath   = "/reload"
)

// of returns a session for one of several services.
func (s *session) of(service string) *session {
	one := *s
	one.service = service
	return &one
}

// several reports whether a request was refused because it named no service.
func several(err error) bool {
	refused, ok := errors.AsType[*RefusedError](err)
	return ok && strings.HasSuffix(refused.Type, severalServices)
}

// gone reports whether a request was refused since there is no such service.
func gone(refused *RefusedError) bool { return strings.HasSuffix(refused.Type, unknownService) }

// getEach is get for each service, if there are several and the session is about none of them. JSON
// has the answer of one service only.
func getEach[T any](ctx context.Context, s *session, path string, text func(io.Writer, T)) error {
	err := get(ctx, s, path, text)
	if s.json || !several(err) {
		return err
	}
	all, err := s.services(ctx)
	if err != nil {
		return err
	}
	for i, one := range all {
		if err := writeHeading(s.out, i, one); err != nil {
			return err
		}
		err := get(ctx, s.of(one.Service), path, text)
		if refused, ok := errors.AsType[*RefusedError](err); ok && (refused.Status == http.StatusConflict || gone(refused)) {
			_, err = fmt.Fprintln(s.out, printable(refused.Detail)) // of the other mode, or removed meanwhile
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// withServiceHint adds to an error how to name a service.
func withServiceHint(err error) error {
	if several(err) {
		return fmt.Errorf("%w (ctl: write -service NAME before the command)", err)
	}
	return err
}

func writeHeading(w io.Writer, i int, s admin.Status) error {
	before := ""
	if i > 0 {
		before = "\n"
	}
	_, err := fmt.Fprintf(w, "%sservice %s\n", before, printable(s.Service))
	return err
}

// serviceList is an answer that has no type in package admin.
type serviceList struct {
	Services    []admin.Status
	SharedPorts *admin.SharedPorts `json:"shared_ports"`
}

// services returns the status of each service.
func (s *session) services(ctx context.Context) ([]admin.Status, error) {
	answer, err := s.of("").do(ctx, http.MethodGet, servicesPath, nil)
	if err != nil {
		return nil, err
	}
	var list serviceList
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, &UnreachableError{fmt.Errorf("this version of linesplit does not understand the answer of %s: %w",
			s.address, err)}
	}
	return list.Services, nil
}

func services(ctx context.Context, s *session, _ []string) error {
	return get(ctx, s.of(""), servicesPath, func(w io.Writer, l serviceList) {
		writeServices(w, l.Services)
		writeSharedPorts(w, l.SharedPorts)
	})
}

// writeSharedPorts tells which clients were refused at TLS ports that services share, if any were.
func writeSharedPorts(w io.Writer, p *admin.SharedPorts) {
	if p == nil {
		return
	}
	var all []string
	for _, r := range p.Refused {
		if r.Count > 0 {
			all = append(all, fmt.Sprintf("%s %s", printable(r.Reason), number(r.Count)))
		}
	}
	if len(all) > 0 {
		fmt.Fprintf(w, "\nrefused at shared TLS ports: %s\n", strings.Join(all, ", "))
	}
}

func writeServices(w io.Writer, all []admin.Status) {
	type status = admin.Status
	writeColumns(w, []column[status]{
		{true, "SERVICE", func(s status) string { return orDash(s.Service) }},
		{true, "MODE", func(s status) string { return s.Mode }},
		{true, "READY", readiness},
		{true, "CONNECTIONS", func(s status) string { return number(s.Totals.Connections) }},
		{true, "TARGETS UP", targetsUp},
		{true, "IN", func(s status) string { return rate(s.Rates.ReceivedLines, s.Rates.ReceivedBytes) }},
		{true, "LISTENERS", func(s status) string { return strings.Join(s.Listeners, " ") }},
	}, all)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func readiness(s admin.Status) string {
	switch {
	case s.Draining:
		return "draining"
	case !s.Ready:
		return "no: " + s.Reason
	}
	return "yes"
}

func targetsUp(s admin.Status) string {
	up := 0
	for _, t := range s.Targets {
		if t.State == admin.StateUp {
			up++
		}
	}
	return fmt.Sprintf("%d of %d", up, len(s.Targets))
}
