package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"linesplit/internal/regfile"
)

const (
	maxRedirects = 3
	maxToken     = 64 << 10 // bytes of the token file
	// intervalHeader is the header of an answer that sets the time until the next lookup.
	// Prometheus sends it in its requests.
	intervalHeader = "X-Prometheus-Refresh-Interval-Seconds"
)

// httpSource gets a list in the format of Prometheus' http_sd, or from Consul's health API.
type httpSource struct {
	spec   Spec
	client http.Client
}

func newHTTPSource(s Spec) *httpSource {
	return &httpSource{s, http.Client{
		// Each request has a connection of its own, since the next request comes much later, and
		// the server may have another address by then.
		Transport: &http.Transport{
			DisableKeepAlives: true, TLSHandshakeTimeout: lookupTimeout, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: checkRedirect,
	}}
}

// checkRedirect allows a few redirects, but none from HTTPS to HTTP: anyone on the path could
// answer there.
func checkRedirect(next *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case via[0].URL.Scheme == "https" && next.URL.Scheme != "https":
		return errors.New("redirects from https to http are not followed")
	}
	return nil
}

func (s *httpSource) lookup(ctx context.Context) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.spec.place, nil)
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "linesplit")
	if err := s.authorize(req); err != nil {
		return Answer{}, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return Answer{}, fmt.Errorf("status %s: %s", resp.Status, oneLine(string(body), maxQuoted))
	case err != nil:
		return Answer{}, fmt.Errorf("read the answer: %w", err)
	case len(body) > maxList:
		return Answer{}, fmt.Errorf("the answer has more than %d bytes", maxList)
	}
	places, err := decodeJSON(body)
	if err != nil {
		return Answer{}, err
	}
	a, err := s.spec.answer(places)
	if n, bad := strconv.Atoi(resp.Header.Get(intervalHeader)); bad == nil && n > 0 {
		a.TTL = time.Duration(min(n, int(maxTTL/time.Second))) * time.Second
	}
	return a, err
}

// authorize adds the token to a request. It reads the file each time, since the token may change.
func (s *httpSource) authorize(req *http.Request) error {
	if s.spec.token == "" {
		return nil
	}
	token, _, err := regfile.Read(s.spec.token, maxToken)
	if err != nil {
		return fmt.Errorf("token file %s: %w", s.spec.token, err)
	}
	req.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	return nil
}
