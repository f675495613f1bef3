package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"sync/atomic"

	"linesplit/internal/regfile"
)

const (
	minToken = 8    // bytes; guesses are slowed, see guesses
	maxToken = 4096 // bytes
)

// Token is the secret that authenticates requests. It is read from a file, and again when the
// file has changed. Its methods are safe for concurrent use. A nil Token matches nothing.
type Token struct {
	tokenMessages
	file  string
	log   *slog.Logger
	watch *regfile.Watch
	sum   atomic.Pointer[[sha256.Size]byte]
}

// LoadToken reads a token file, whose whole content is the token, without surrounding space. The
// file must not be empty or world-readable. A nil logger discards.
func LoadToken(file string, log *slog.Logger) (*Token, error) {
	return loadTokenOf(tokenMessages{"admin token", "admin token read again",
		"admin token has changed and cannot be used, keeping the old one"}, file, log)
}

// LoadListenerToken is LoadToken for the token that senders of an http:// listener need.
func LoadListenerToken(file string, log *slog.Logger) (*Token, error) {
	return loadTokenOf(tokenMessages{"listener token", "listener token read again",
		"listener token has changed and cannot be used, keeping the old one"}, file, log)
}

// tokenMessages are how errors and log lines name a token.
type tokenMessages struct{ what, changed, unusable string }

func loadTokenOf(messages tokenMessages, file string, log *slog.Logger) (*Token, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t := &Token{tokenMessages: messages, file: file, log: log}
	watch, err := regfile.NewWatch([]string{file}, t.read, t.report)
	if err != nil {
		return nil, err
	}
	t.watch = watch
	return t, nil
}

// Matches reports whether sent is the token. It compares in constant time.
func (t *Token) Matches(sent string) bool {
	if t == nil || sent == "" {
		return false
	}
	sum := sha256.Sum256([]byte(sent))
	t.watch.Check()
	return subtle.ConstantTimeCompare(sum[:], t.sum.Load()[:]) == 1
}

// read reads the file. If the file cannot be used the old token stays in force: the file may be
// half replaced.
func (t *Token) read() error {
	sum, err := readToken(t.file)
	if err != nil {
		return fmt.Errorf("%s file %s: %w", t.what, t.file, err)
	}
	t.sum.Store(&sum)
	return nil
}

func (t *Token) report(changed bool, err error) {
	switch {
	case err == nil:
		t.log.Info(t.changed, "file", t.file)
	case changed:
		t.log.Warn(t.unusable, "err", err)
	}
}

func readToken(file string) (sum [sha256.Size]byte, err error) {
	data, info, err := regfile.Read(file, maxToken)
	if err == nil {
		err = checkTokenFile(info)
	}
	if err != nil {
		return sum, err
	}
	token := bytes.TrimSpace(data)
	if err := checkToken(token); err != nil {
		return sum, err
	}
	return sha256.Sum256(token), nil
}

func checkTokenFile(info fs.FileInfo) error {
	const othersRead, othersWrite, groupRead, groupWrite = 0o004, 0o002, 0o040, 0o020
	mode := info.Mode()
	switch {
	case runtime.GOOS == "windows": // has no such bits
	case mode&othersRead != 0:
		return fmt.Errorf("mode %04o makes it world-readable: chmod 600 it (in Kubernetes: defaultMode: 0440 of the volume)",
			mode.Perm())
	case mode&othersWrite != 0, mode&groupWrite != 0 && mode&groupRead == 0:
		return fmt.Errorf("mode %04o lets users replace the token who may not read it: chmod 600 it", mode.Perm())
	}
	return nil
}

func checkToken(token []byte) error {
	switch {
	case len(token) == 0:
		return errors.New("is empty: put a long random word into it, such as the output of openssl rand -hex 32")
	case len(token) < minToken:
		return fmt.Errorf("has fewer than %d characters, which can be guessed: put a long random word into it, "+
			"such as the output of openssl rand -hex 32", minToken)
	case bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("is not one word of visible ASCII characters, so no header can carry it")
	}
	return nil
}
