package health

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"slices"

	"linesplit/internal/stranger"
	"linesplit/target"
)

// signBytes are enough to tell what another server speaks.
const signBytes = 5

// get asks for the path and judges the status. Redirects are not followed.
func (c Check) get(conn *conversation, a target.Address) error {
	request := c.request(a)
	if err := request.Write(conn); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	answer := bufio.NewReader(conn)
	first, _ := answer.Peek(signBytes) // readStatus returns the error
	first = slices.Clone(first)
	status, err := readStatus(answer, request)
	switch hint := stranger.Hint(first); {
	case err != nil && hint != "" && !bytes.HasPrefix(first, []byte("HTTP/")):
		return fmt.Errorf("read answer: %w: %s", err, hint)
	case err != nil:
		return fmt.Errorf("read answer: %w", err)
	}
	if status < c.low || status > c.high {
		return fmt.Errorf("status %d is not within %d-%d", status, c.low, c.high)
	}
	drain(conn) // some servers take a FIN in the middle of their answer for a client that has given up
	return nil
}

func (c Check) request(a target.Address) *http.Request {
	host := a.Host
	if a.Scheme == target.SchemeUnix {
		host = "localhost"
	}
	return &http.Request{
		Method: http.MethodGet, URL: c.path, Host: host, ProtoMajor: 1, ProtoMinor: 1, Close: true,
		Header: http.Header{"User-Agent": {"linesplit-health"}, "Accept": {"*/*"}},
	}
}

// readStatus passes over interim answers, such as early hints (RFC 9110, 15.2).
func readStatus(r *bufio.Reader, request *http.Request) (int, error) {
	for {
		answer, err := http.ReadResponse(r, request)
		if err != nil {
			return 0, err
		}
		if answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer.StatusCode, nil
		}
	}
}
