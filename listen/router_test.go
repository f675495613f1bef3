package listen

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

func TestClientsGetTheServiceOfTheirName(t *testing.T) {
	for _, passthrough := range []bool{false, true} {
		s := openShop(t, nil)
		s.add("a", "a.example www.a.example", passthrough)
		s.add("b", "*.example *.a.example", passthrough)
		s.add("rest", "all", passthrough)
		s.router.Start()
		for name, want := range map[string]string{
			"a.example": "a", "A.Example": "a", "www.a.example": "a", // exact before wildcard
			"b.example": "b", "mail.a.example": "b", "x.y.example": "rest", "other.test": "rest", "127.0.0.1": "rest",
		} {
			if got, _, err := s.ask(&tls.Config{ServerName: name}); got != want {
				t.Errorf("passthrough %v: %s gets %q, %v, want %q", passthrough, name, got, err, want)
			}
		}
		s.expect()
	}
}

// chopped sends a client's first write as records of one byte, each in a packet of its own.
type chopped struct {
	*net.TCPConn
	done bool
}

func (c *chopped) Write(p []byte) (int, error) {
	if c.done {
		return c.TCPConn.Write(p)
	}
	c.done = true
	for _, b := range p[5:] {
		if _, err := c.TCPConn.Write([]byte{22, 3, 1, 0, 1, b}); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func TestClientWhoseHelloComesInManyRecords(t *testing.T) {
	s := openShop(t, nil)
	s.add("a", "a.example", true)
	s.add("b", "b.example", true)
	s.router.Start()
	conn, err := net.Dial("tcp", s.addr)
	must(t, err)
	tcp := conn.(*net.TCPConn)
	must(t, tcp.SetNoDelay(true))
	if got, _, err := s.askOver(&chopped{TCPConn: tcp}, &tls.Config{ServerName: "b.example"}); got != "b" {
		t.Errorf("got %q, %v", got, err)
	}
}

// echConfig returns a list of ECH configurations for a client, of a server that does not exist.
func echConfig(t *testing.T, publicName string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(t, err)
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(0xfe0d)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(1)       // id
			b.AddUint16(0x0020) // DHKEM(X25519, HKDF-SHA256)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(key.PublicKey().Bytes()) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16(1); b.AddUint16(1) }) // HKDF-SHA256, AES-128-GCM
			b.AddUint8(32)
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(publicName)) })
			b.AddUint16LengthPrefixed(func(*cryptobyte.Builder) {})
		})
	})
	return b.BytesOrPanic()
}

// The true name is encrypted: the one that shows decides if it fits, since browsers pretend to
// encrypt where they do not.
func TestClientsThatEncryptTheirName(t *testing.T) {
	s := openShop(t, nil)
	s.add("a", "a.example", true)
	s.add("rest", "ech no-name", true)
	s.router.Start()
	var rejected *tls.ECHRejectionError
	for shows, want := range map[string]string{"a.example": "a", "public.example": "rest"} {
		config := &tls.Config{
			ServerName: "secret.example", EncryptedClientHelloConfigList: echConfig(t, shows), MinVersion: tls.VersionTLS13,
		}
		config.EncryptedClientHelloRejectionVerify = func(tls.ConnectionState) error { return nil }
		_, _, err := s.ask(config) // fails, since no server has a key for ECH, but one has been met
		if met := <-s.met; !errors.As(err, &rejected) || met != want {
			t.Errorf("one that shows %s meets %q, %v, want %q", shows, met, err, want)
		}
	}
	s.expect()
	if _, _, err := s.ask(&tls.Config{ServerName: "public.example"}); err == nil {
		t.Error("an unknown name that is not encrypted is served")
	}
	s.expect("unknown-name")
}

func TestClientsThatNoServiceWantsAreTold(t *testing.T) {
	s := openShop(t, nil)
	s.add("a", "a.example", true)
	s.router.Start()
	for _, name := range []string{"b.example", "127.0.0.1", "x.a.example"} {
		if _, _, err := s.ask(&tls.Config{ServerName: name}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.expect("no-name", "unknown-name", "unknown-name")
	if log := s.log.String(); !strings.Contains(log, `msg="TLS client refused" reason=unknown-name`) ||
		!strings.Contains(log, "server_name=") || !strings.Contains(log, "listener=tls://"+s.addr) {
		t.Errorf("log:\n%s", log)
	}
}

func TestWhatIsNoTLSIsRefused(t *testing.T) {
	s := openShop(t, nil)
	s.add("rest", "all", true)
	s.router.Start()
	send := func(text string) (answer []byte, err error) {
		conn, err := net.Dial("tcp", s.addr)
		must(t, err)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(conn, text)
		conn.(*net.TCPConn).CloseWrite()
		return io.ReadAll(conn)
	}
	if answer, err := send("GET / HTTP/1.1\r\n\r\n"); err != nil || !bytes.Equal(answer, []byte{21, 3, 1, 0, 2, 2, protocolVersion}) {
		t.Errorf("an HTTP client gets %q, %v", answer, err)
	}
	s.expect("no-tls")
	send("\x16\x03\x01\x00\x05\x02")
	send("\x16\x03\x01\x40\x00\x01\x00\xff\xff")
	send("\x16\x03\x01\x00\x05\x01")
	s.expect("no-tls", "hello-malformed", "hello-too-large", "hello-broken")
	if log := s.log.String(); !strings.Contains(log, "it is an HTTP client") {
		t.Errorf("log:\n%s", log)
	}
	send("")
	for end := time.Now().Add(30 * time.Second); s.router.Stats().Probes != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", s.router.Stats())
		}
	}
}

func TestSlowClientIsRefused(t *testing.T) {
	s := openShop(t, nil)
	s.router.limit = 500 * time.Millisecond // longer than a dial takes on a busy machine
	s.add("rest", "all", true)
	s.router.Start()
	conn, err := net.Dial("tcp", s.addr)
	must(t, err)
	defer conn.Close()
	io.WriteString(conn, "\x16\x03\x01")
	wantReset(t, conn)
	s.expect("hello-timeout")
}

// As many silent clients as there are places must not keep another out.
func TestSilentClientsMakeRoom(t *testing.T) {
	s := openShop(t, nil)
	s.router.limit = time.Hour
	s.router.places = newPlaces(3)
	s.add("rest", "all", true)
	s.router.Start()
	for range 4 {
		conn, err := net.Dial("tcp", s.addr)
		must(t, err)
		defer conn.Close()
	}
	if got, _, err := s.ask(&tls.Config{ServerName: "a.example"}); got != "rest" {
		t.Errorf("got %q, %v", got, err)
	}
	if log := s.log.String(); !strings.Contains(log, "reason=hello-overdue") {
		t.Errorf("log:\n%s", log)
	}
}

// A service that takes no clients, such as one at its limit of senders, holds up no other.
func TestBusyServiceHoldsUpNoOther(t *testing.T) {
	s := openShop(t, nil)
	busy, err := s.router.Add(wanted(t, "busy.example"), nil)
	must(t, err)
	defer busy.Close()
	busy.queue = newQueue(busy.Addr(), 1, s.router.places)
	s.add("free", "free.example", true)
	s.router.Start()
	for range 2 {
		conn, err := net.Dial("tcp", s.addr)
		must(t, err)
		defer conn.Close()
		go tls.Client(conn, &tls.Config{ServerName: "busy.example"}).Handshake()
	}
	s.expect("busy")
	if got, _, err := s.ask(&tls.Config{ServerName: "free.example"}); got != "free" {
		t.Errorf("got %q, %v", got, err)
	}
	far, err := busy.Accept()
	must(t, err)
	defer far.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(far, first); err != nil || first[0] != 22 {
		t.Errorf("the stream begins with %v, %v", first, err)
	}
}

func TestServicesComeAndGo(t *testing.T) {
	s := openShop(t, nil)
	a := s.add("a", "a.example", true)
	s.add("rest", "all", true)
	s.router.Start()
	get := func(want string) {
		t.Helper()
		if got, _, err := s.ask(&tls.Config{ServerName: "a.example"}); got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	get("a")
	successor := s.add("successor", "b.example a.example", true)
	get("successor")
	must(t, successor.Close())
	get("a")
	must(t, a.Close())
	if _, err := a.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	get("rest")
	s.add("new a", "a.example", false)
	get("new a")
	for _, l := range s.services {
		must(t, l.Close())
	}
	if conn, err := net.Dial("tcp", s.addr); err == nil {
		conn.Close()
		t.Error("the listener is open after the last service has gone")
	}
	if _, err := s.router.Add(wanted(t, "c.example"), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a service after the end: %v", err)
	}
}

// Clients whose ClientHello is awaited do not keep the end waiting.
func TestCloseEndsTheWaitForHellos(t *testing.T) {
	s := openShop(t, nil)
	s.router.limit = time.Hour
	l := s.add("rest", "all", true)
	s.router.Start()
	conn, err := net.Dial("tcp", s.addr)
	must(t, err)
	defer conn.Close()
	if _, _, err := s.ask(&tls.Config{ServerName: "a.example"}); err != nil { // conn was accepted before
		t.Fatal(err)
	}
	must(t, l.Close())
	wantReset(t, conn)
}

// The address from a PROXY header stays that of the client.
func TestRouterBehindAProxy(t *testing.T) {
	s := openShop(t, trusting(0))
	s.add("a", "a.example", true)
	s.add("b", "b.example", false)
	s.router.Start()
	for _, name := range []string{"a", "b"} {
		conn, err := net.Dial("tcp", s.addr)
		must(t, err)
		io.WriteString(conn, "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n")
		if got, client, err := s.askOver(conn, &tls.Config{ServerName: name + ".example"}); got != name || client != "192.0.2.1:4711" {
			t.Errorf("%q for %s, %v", got, client, err)
		}
	}
}

func TestParseRest(t *testing.T) {
	for text, want := range map[string]Rest{"all": AllRest, "ech": Encrypted, "no-name": NoName, "unknown-name": UnknownName} {
		if got, err := ParseRest(text); got != want || err != nil || got.String() != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := ParseRest("none"); err == nil {
		t.Error("none is read")
	}
	if got := (UnknownName | Encrypted).String(); got != "unknown-name,ech" {
		t.Errorf("%q", got)
	}
}
