package listen

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/servername"
	"linesplit/internal/testcert"
)

// shop is a Router whose services speak TLS, each with a certificate that names it.
type shop struct {
	t      *testing.T
	router *Router
	certs  testcert.Files
	addr   string
	log    logText

	services map[string]*Routed
	serving  sync.WaitGroup
	met      chan string // services that have been met, at most a hundred
}

// logText collects log lines.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// openShop makes a Router that does not accept yet.
func openShop(t *testing.T, guard *Guard) *shop {
	t.Helper()
	ln, err := Open(t.Context(), mustParse(t, "tcp://127.0.0.1:0"), nil, guard)
	must(t, err)
	s := &shop{t: t, certs: testcert.New(t, t.TempDir()), addr: ln.Addr().String(), services: map[string]*Routed{}}
	s.met = make(chan string, 100)
	s.router = NewRouter(ln, slog.New(slog.NewTextHandler(&s.log, nil)))
	t.Cleanup(func() {
		for _, l := range s.services {
			l.Close()
		}
		ln.Close()
		s.serving.Wait()
	})
	return s
}

// wanted reads server names and kinds of clients, separated by blanks.
func wanted(t *testing.T, text string) (w Wanted) {
	t.Helper()
	for word := range strings.FieldsSeq(text) {
		if rest, err := ParseRest(word); err == nil {
			w.Rest |= rest
			continue
		}
		name, err := servername.Parse(word)
		must(t, err)
		w.Names = append(w.Names, name)
	}
	return w
}

// add adds a service, and serves its clients: it writes the name of the service over TLS. If
// passthrough is set, the service does the handshake behind the Router, as a target would.
func (s *shop) add(name, names string, passthrough bool) *Routed {
	s.t.Helper()
	dir := s.t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	must(s.t, s.certs.Authority.WritePair(cert, key, testcert.Options{Name: name}))
	pair, err := tls.LoadX509KeyPair(cert, key)
	must(s.t, err)
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	secure := func(conn net.Conn) net.Conn { return tls.Server(conn, config) }
	if passthrough {
		secure = nil
	}
	l, err := s.router.Add(wanted(s.t, names), secure)
	must(s.t, err)
	s.services[name] = l
	s.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if passthrough {
				conn = tls.Server(conn, config)
			}
			select {
			case s.met <- name:
			default:
			}
			s.serving.Go(func() {
				defer conn.Close()
				io.WriteString(conn, name+" for "+conn.RemoteAddr().String())
			})
		}
	})
	return l
}

// ask returns the name of the service that a client gets, and the client's address there.
func (s *shop) ask(config *tls.Config) (service, client string, err error) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	must(s.t, err)
	return s.askOver(conn, config)
}

func (s *shop) askOver(conn net.Conn, config *tls.Config) (service, client string, err error) {
	s.t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	config = config.Clone()
	config.InsecureSkipVerify = true
	secure := tls.Client(conn, config)
	if err := secure.Handshake(); err != nil {
		return "", "", err
	}
	said, err := io.ReadAll(secure)
	service, client, _ = strings.Cut(string(said), " for ")
	if cert := secure.ConnectionState().PeerCertificates[0].Subject.CommonName; cert != service {
		s.t.Errorf("the certificate of %q at the service %q", cert, service)
	}
	return service, client, err
}

// expect waits until exactly these clients were refused, each a reason.
func (s *shop) expect(want ...string) {
	s.t.Helper()
	slices.Sort(want)
	var got []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		got = nil
		for _, r := range s.router.Stats().Refused {
			for range r.Count {
				got = append(got, r.Reason)
			}
		}
		if slices.Sort(got); slices.Equal(got, want) {
			return
		}
	}
	s.t.Errorf("refused for %q, want %q", got, want)
}
