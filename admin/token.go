package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	maxToken      = 4096        // bytes
	tokenInterval = time.Second // minimum between checks of the file
)

// Token is the secret that authenticates requests. It is read from a file, and again when the
// file has changed. Its methods are safe for concurrent use. A nil Token matches nothing.
type Token struct {
	file string
	log  *slog.Logger

	mu      sync.Mutex  // protects the fields below
	checked time.Time   // of the last check of the file
	seen    os.FileInfo // taken before the file was last read
	broken  bool        // the last read failed, so sum is older than the file
	sum     [sha256.Size]byte
}

// LoadToken reads a token file, whose whole content is the token, without surrounding space. The
// file must not be empty or world-readable. A nil logger discards.
func LoadToken(file string, log *slog.Logger) (*Token, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t := &Token{file: file, log: log, checked: time.Now()}
	if err := t.readLocked(); err != nil { // no other goroutine has t yet
		return nil, err
	}
	return t, nil
}

// matches reports whether sent is the token. It compares in constant time.
func (t *Token) matches(sent string) bool {
	if t == nil || sent == "" {
		return false
	}
	sum := sha256.Sum256([]byte(sent))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refreshLocked()
	return subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1
}

// refreshLocked reads the file again if it has changed. If the file cannot be used it keeps the
// old token: the file may be half replaced.
func (t *Token) refreshLocked() {
	now := time.Now()
	if now.Sub(t.checked) < tokenInterval {
		return
	}
	t.checked = now
	info, err := os.Stat(t.file)
	changed := err != nil || !sameFile(info, t.seen)
	if !changed && !t.broken {
		return
	}
	before := t.broken
	err = t.readLocked()
	t.broken = err != nil
	switch {
	case err == nil:
		t.log.Info("admin token read again", "file", t.file)
	case !before:
		t.log.Warn("admin token has changed and cannot be used, keeping the old one", "err", err)
	}
}

func (t *Token) readLocked() error {
	info, sum, err := readToken(t.file)
	if err != nil {
		return fmt.Errorf("admin token file %s: %w", t.file, err)
	}
	t.seen, t.sum = info, sum
	return nil
}

func readToken(file string) (info os.FileInfo, sum [sha256.Size]byte, err error) {
	// Stat comes before Open because opening a pipe would block, and so that the next check finds
	// a change from now on.
	if info, err = os.Stat(file); err == nil {
		err = checkTokenFile(info)
	}
	if err != nil {
		return nil, sum, withoutPath(err)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, sum, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return nil, sum, withoutPath(err)
	}
	token := bytes.TrimSpace(data)
	if err := checkToken(token, len(data)); err != nil {
		return nil, sum, err
	}
	return info, sha256.Sum256(token), nil
}

func checkTokenFile(info os.FileInfo) error {
	const othersRead = 0o004
	switch {
	case !info.Mode().IsRegular():
		return errors.New("is not a regular file")
	case runtime.GOOS != "windows" && info.Mode()&othersRead != 0: // Windows has no such bits
		return fmt.Errorf("mode %04o makes it world-readable: chmod 600 it (in Kubernetes: defaultMode: 0440 of the volume)",
			info.Mode().Perm())
	}
	return nil
}

func checkToken(token []byte, read int) error {
	switch {
	case len(token) == 0:
		return errors.New("is empty: put a long random word into it, such as the output of openssl rand -hex 32")
	case read > maxToken:
		return fmt.Errorf("has more than %d bytes, which is too long for a token", maxToken)
	case bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("is not one word of visible ASCII characters, so no header can carry it")
	}
	return nil
}

func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.Mode() == b.Mode() && a.ModTime().Equal(b.ModTime())
}

// withoutPath removes the path from an error that the caller adds it to.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
