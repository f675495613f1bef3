// Package ctl is the client of the admin API: it carries out the commands of "linesplit ctl" and
// prints the answers.
package ctl

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"linesplit/admin"
)

const (
	prefix = "/api/v1"
	// readTimeout is the limit for a request that changes nothing, and its answer.
	readTimeout = 5 * time.Second
	// changeTimeout is the limit for a change: linesplit may take 20 s for it.
	changeTimeout = 30 * time.Second
	maxAnswer     = 64 << 20 // bytes: ten thousand connections need a twentieth of it
)

// Options name the linesplit to talk to.
type Options struct {
	// Address is the value of linesplit's -admin: host:port, tls://host:port, unix:///path or
	// unix://@name.
	Address string
	// Token is sent with every request. If it is empty, none is sent.
	Token string
	// TLS is used for tls:// addresses. Nil trusts the system's authorities and shows no
	// certificate.
	TLS *tls.Config
	// Service is the service that commands are about. Empty: the only one, or for commands that
	// show something, all of them.
	Service string
}

// Client sends requests to one linesplit. Its methods are safe for concurrent use.
type Client struct {
	http    http.Client
	address string // as it was written, for errors
	base    string // of URLs
	token   string
	service string // Options.Service
}

// NewClient returns a client that connects with its first request. The caller closes it.
func NewClient(o Options) (*Client, error) {
	network, address, secure, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{ // no proxy from the environment: linesplit may be on this machine
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig: o.TLS,
	}
	c := &Client{
		http: http.Client{Transport: transport}, address: o.Address, base: "http://linesplit", token: o.Token,
		service: o.Service,
	}
	switch {
	case secure:
		c.base = "https://" + address
	case network == "tcp":
		c.base = "http://" + address
	}
	return c, nil
}

// CheckAddress returns an error if NewClient would refuse the address. It sends no request.
func CheckAddress(value string) error {
	_, _, _, err := parseAddress(value)
	return err
}

// parseAddress reads an address as linesplit's -admin does. What stands behind a socket's path,
// such as its mode, is for linesplit only.
func parseAddress(value string) (network, address string, secure bool, err error) {
	if strings.HasPrefix(value, "unix://") {
		value, _, _ = strings.Cut(value, "?")
	}
	spec, err := admin.ParseSpec(value)
	if err != nil {
		return "", "", false, err
	}
	network, address, _ = strings.Cut(spec.String(), "://")
	if network == "unix" {
		address, _, _ = strings.Cut(address, "?")
		return network, address, false, nil
	}
	if strings.HasSuffix(address, ":0") {
		return "", "", false, errors.New("port 0 is any free port: write the one that linesplit has logged")
	}
	return "tcp", address, spec.TLS(), nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// UnreachableError means that linesplit did not answer, or that the answer came from another
// program.
type UnreachableError struct{ Err error }

// Error implements error.
func (e *UnreachableError) Error() string { return e.Err.Error() }

// Unwrap returns the cause, for package errors.
func (e *UnreachableError) Unwrap() error { return e.Err }

// RefusedError is an answer of linesplit that says why it refused a request.
type RefusedError struct {
	Type   string   `json:"type"`   // ends with a word for programs
	Status int      `json:"status"` // HTTP status code
	Detail string   `json:"detail"`
	Errors []string `json:"errors"` // the single reasons, if there are several
}

// Error implements error.
func (e *RefusedError) Error() string {
	lines := strings.Split(e.Detail, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	text := strings.Join(lines, "\n")
	if e.Status == http.StatusUnauthorized {
		return text + " (ctl reads the token from -token-file FILE)"
	}
	for _, reason := range e.Errors {
		text += "\n  " + printable(reason)
	}
	return text
}

// do sends a request, with body as JSON unless body is nil, and returns the body of the answer,
// which may be empty.
func (c *Client) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	limit := readTimeout
	if method != http.MethodGet {
		if err := c.answers(ctx); err != nil {
			return nil, err
		}
		limit = changeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, c.silent(limit)
	}
	if err != nil {
		return nil, &UnreachableError{fmt.Errorf("ask linesplit at %s: %w", c.address, advise(cause(err)))}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, &UnreachableError{fmt.Errorf("read the answer of %s: %w", c.address, err)}
	}
	if answer.StatusCode < 300 {
		return text, nil
	}
	refused := RefusedError{Status: answer.StatusCode}
	if json.Unmarshal(text, &refused) != nil || refused.Detail == "" {
		return nil, &UnreachableError{fmt.Errorf("%s answers %q: %s", c.address, answer.Status, adviceOn(text))}
	}
	return nil, &refused
}

// answers returns an error if what listens at the address does not answer at all, so that a change
// does not wait for it as long as linesplit may take for the change.
func (c *Client) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := c.Alive(ctx); errors.Is(err, context.DeadlineExceeded) {
		return c.silent(readTimeout)
	}
	return nil // the request itself meets any other fault, and explains it
}

// silent is the error for an address that has not answered within limit.
func (c *Client) silent(limit time.Duration) error {
	return &UnreachableError{fmt.Errorf("no answer from %s within %v: what listens there may not be linesplit's "+
		"admin listener: -admin of this command must say the same as linesplit's -admin", c.address, limit)}
}

// Alive returns nil if the process answers /healthz, which needs no token. Its error is an
// *UnreachableError.
func (c *Client) Alive(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	answer, err := c.http.Transport.RoundTrip(request) // follows no redirect, which could lead to another server
	if err != nil {
		return &UnreachableError{fmt.Errorf("ask linesplit at %s: %w", c.address, advise(cause(err)))}
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxStranger))
	return &UnreachableError{fmt.Errorf("ask linesplit at %s: got %s: %s", c.address, answer.Status, adviceOn(text))}
}

// cause strips the method and the address from an error, because the message names them already.
func cause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write a request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+prefix+path, content)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	return request, nil
}
