package ctl

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// At a listener for lines, which reads the request and never answers, ctl said nothing for 30 s.
func TestSilentListener(t *testing.T) {
	for _, words := range [][]string{{"status"}, {"reload"}, {"drain", "tcp://a:1"}} {
		synctest.Test(t, func(t *testing.T) {
			var peers []net.Conn
			transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				conn, peer := net.Pipe()
				peers = append(peers, peer)
				go io.Copy(io.Discard, peer)
				return conn, nil
			}}
			c := &Client{http: http.Client{Transport: transport}, address: "127.0.0.1:9000", base: "http://127.0.0.1:9000"}
			start := time.Now()
			_, err := run(t, c, false, words...)
			if _, ok := errors.AsType[*UnreachableError](err); !ok || time.Since(start) != 5*time.Second ||
				!strings.Contains(err.Error(), "no answer from 127.0.0.1:9000 within 5s: what listens there may not be linesplit's") {
				t.Errorf("%s: %v after %v", words, err, time.Since(start))
			}
			c.Close()
			for _, peer := range peers {
				peer.Close()
			}
		})
	}
}
