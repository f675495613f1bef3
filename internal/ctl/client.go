// Package ctl talks to a running linesplit by its admin API, for a person at a shell or a script.
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
)

const (
	prefix = "/api/v1"
	// patience is for how long an answer may take: a change may take linesplit 20 s.
	patience  = 30 * time.Second
	maxAnswer = 64 << 20 // bytes: ten thousand connections take a twentieth of it
)

// Options say whom to ask.
type Options struct {
	// Address is what linesplit has as -admin: host:port, tls://host:port, unix:///path or unix://@name.
	Address string
	// Token is shown with every request; empty for none.
	Token string
	// TLS is for tls:// addresses; nil is the system's authorities and no certificate.
	TLS *tls.Config
}

// Client asks one linesplit. Its methods are safe for concurrent use.
type Client struct {
	http  http.Client
	base  string
	token string
}

// NewClient connects to nothing yet.
func NewClient(o Options) (*Client, error) {
	network, address, secure, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{ // and no proxy from the environment: it is the process beside us that is asked
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig: o.TLS,
	}
	c := &Client{http: http.Client{Transport: transport}, token: o.Token, base: "http://linesplit"}
	switch {
	case secure:
		c.base = "https://" + address
	case network == "tcp":
		c.base = "http://" + address
	}
	return c, nil
}

func parseAddress(value string) (network, address string, secure bool, err error) {
	scheme, rest, found := strings.Cut(value, "://")
	if !found {
		scheme, rest = "tcp", value
	}
	switch scheme {
	case "unix":
		rest, _, _ = strings.Cut(rest, "?") // its mode is for linesplit
		return "unix", rest, false, nil
	case "tcp", "tls":
		if _, _, err := net.SplitHostPort(rest); err != nil {
			return "", "", false, errors.New("write 127.0.0.1:9091, tls://host:port or unix:///path, as -admin has it")
		}
		return "tcp", rest, scheme == "tls", nil
	}
	return "", "", false, fmt.Errorf("unknown scheme %q: write 127.0.0.1:9091, tls://host:port or unix:///path", scheme)
}

// Close lets go of connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// UnreachableError says that there was no answer, or none of linesplit's.
type UnreachableError struct{ Err error }

// Error implements error.
func (e *UnreachableError) Error() string { return e.Err.Error() }

// Unwrap implements errors.
func (e *UnreachableError) Unwrap() error { return e.Err }

// RefusedError is an answer that says why something was not done.
type RefusedError struct {
	Status int      `json:"status"` // of HTTP
	Detail string   `json:"detail"`
	Errors []string `json:"errors"` // one each, where there are several
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Status == http.StatusUnauthorized {
		return e.Detail + " (here: -token-file FILE)"
	}
	if len(e.Errors) == 0 {
		return e.Detail
	}
	return e.Detail + "\n  " + strings.Join(e.Errors, "\n  ")
}

// do sends body, if it is not nil, as JSON, and returns the body of the answer, which may be empty.
func (c *Client) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, &UnreachableError{fmt.Errorf("ask linesplit at %s: %w", c.base, bare(err))}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, &UnreachableError{fmt.Errorf("read the answer of %s: %w", c.base, err)}
	}
	if answer.StatusCode < 300 {
		return text, nil
	}
	refused := RefusedError{Status: answer.StatusCode}
	if json.Unmarshal(text, &refused) != nil || refused.Detail == "" {
		return nil, &UnreachableError{fmt.Errorf("%s answers %q: that is not linesplit's API; is it another program's address, or an older linesplit?", c.base, answer.Status)}
	}
	return nil, &refused
}

// Alive asks whether the process lives: nil if so. Everybody may ask that. The error is an *UnreachableError.
func (c *Client) Alive(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	answer, err := c.http.Transport.RoundTrip(request) // a redirection would lead to somebody else
	if err != nil {
		return &UnreachableError{fmt.Errorf("ask %s: %w", request.URL, bare(err))}
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &UnreachableError{fmt.Errorf("ask %s: got %s", request.URL, answer.Status)}
	}
	return nil
}

// bare takes method and address out of an error: they are said already.
func bare(err error) error {
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
