package acked

import (
	"time"

	"linesplit/target"
)

// tokenRefresh is how long a token is used before its file is read again.
const tokenRefresh = 10 * time.Second

// token is the content of a file with the credentials for a server. One goroutine uses it.
type token struct {
	file  string
	value string
	read  time.Time // when it was read last
}

func newToken(file string) *token {
	if file == "" {
		return nil
	}
	return &token{file: file}
}

// header returns the value of the Authorization header (RFC 9110, 11.6.2). It reads the file again
// from time to time: tokens are replaced before they expire. If that fails, the last one is used.
func (t *token) header() (string, error) {
	if time.Since(t.read) < tokenRefresh {
		return t.value, nil
	}
	value, err := target.ReadToken(t.file)
	if err != nil && t.value == "" {
		return "", err
	}
	if err == nil {
		t.value = value
	}
	t.read = time.Now()
	return t.value, nil
}
