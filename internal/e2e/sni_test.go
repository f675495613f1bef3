//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testcert"
	"linesplit/internal/testrig"
)

// pairFor issues a certificate for hosts by the authority that all clients trust.
func pairFor(t *testing.T, hosts ...string) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err := testrig.Certs.Authority.WritePair(cert, key, testcert.Options{Name: hosts[0], Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// namesShop is a server with TLS and certificates of its own. It answers a request of HTTP with its
// name and that of the host which the client asked for.
func namesShop(t *testing.T, name string, hosts ...string) *testrig.Server {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(pairFor(t, hosts...))
	if err != nil {
		t.Fatal(err)
	}
	return testrig.NewServer(t, testrig.ServerOptions{
		TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, Handler: answer(name),
	})
}

// answer answers requests of HTTP with a name.
func answer(name string) testrig.Handler {
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for line := "x"; strings.TrimSpace(line) != ""; {
			var err error
			if line, err = in.ReadString('\n'); err != nil {
				return
			}
		}
		body := name
		if secure, ok := conn.(*tls.Conn); ok {
			body += " as " + secure.ConnectionState().ServerName
		}
		fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	}
}

// below returns a server with TLS as a target that gets the bytes of the TLS.
func below(s *testrig.Server) testrig.Target { return testrig.TargetFlag("tcp://" + s.Addr()) }

const request = "GET / HTTP/1.0\r\nHost: x\r\n\r\n"

// asker asks for a host at an address and returns the answer of HTTP, or what went wrong.
type asker struct {
	name, needs string
	ask         func(t *testing.T, addr, host string) (string, error)
}

// askers are clients of all kinds that check the server's certificate.
var askers = []asker{
	{"Go", "", func(t *testing.T, addr, host string) (string, error) {
		config := testrig.ClientTLS()
		config.ServerName = host
		d := &net.Dialer{Timeout: testrig.Patience}
		conn, err := tls.DialWithDialer(d, "tcp", addr, config)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(testrig.Patience))
		io.WriteString(conn, request)
		said, err := io.ReadAll(conn)
		return string(said), err
	}},
	{"openssl s_client", "openssl", func(t *testing.T, addr, host string) (string, error) {
		return run(t, request, "openssl", "s_client", "-connect", addr, "-servername", host, "-quiet",
			"-CAfile", testrig.Certs.CA, "-verify_return_error", "-verify_hostname", host)
	}},
	{"curl", "curl", func(t *testing.T, addr, host string) (string, error) {
		ip, port, _ := net.SplitHostPort(addr)
		return run(t, "", "curl", "-sS", "--max-time", "30", "--cacert", testrig.Certs.CA, "--noproxy", "*",
			"--resolve", host+":"+port+":"+ip, "https://"+host+":"+port+"/")
	}},
	{"Python", "python3", func(t *testing.T, addr, host string) (string, error) {
		const script = `
import socket, ssl, sys
address, port = sys.argv[1].rsplit(":", 1)
context = ssl.create_default_context(cafile=sys.argv[3])
with socket.create_connection((address, int(port)), timeout=30) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[2]) as secure:
        secure.sendall(sys.stdin.buffer.read())
        while data := secure.recv(4096):
            sys.stdout.buffer.write(data)
`
		return run(t, request, "python3", "-c", script, addr, host, testrig.Certs.CA)
	}},
}

// run runs a program and returns what it writes.
func run(t *testing.T, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, &stderr)
	}
	return string(out), err
}

// forEachAsker runs a test for each client that this machine has.
func forEachAsker(t *testing.T, test func(t *testing.T, a asker)) {
	for _, a := range askers {
		t.Run(a.name, func(t *testing.T) {
			if _, err := exec.LookPath(a.needs); a.needs != "" && err != nil {
				t.Skipf("needs the program %s", a.needs)
			}
			test(t, a)
		})
	}
}

// expectAnswer asks for a host and expects an answer that ends with want.
func (a asker) expectAnswer(t *testing.T, addr, host, want string) {
	t.Helper()
	if got, err := a.ask(t, addr, host); err != nil || !strings.HasSuffix(got, want) {
		t.Errorf("%s gets %q, %v, want %q", host, got, err, want)
	}
}

func TestTLSIsPassedThroughByName(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	shop := namesShop(t, "shop", "a.example", "*.b.example")
	s.StartConnectionMode([]testrig.Target{below(shop)}, "-listen", "tls://127.0.0.1:0", "-tls-passthrough", "-sni", "a.example,*.B.example")
	refused := 0
	forEachAsker(t, func(t *testing.T, a asker) {
		a.expectAnswer(t, s.Process.Listeners[0], "a.example", "shop as a.example")
		a.expectAnswer(t, s.Process.Listeners[0], "x.b.example", "shop as x.b.example")
		got, err := a.ask(t, s.Process.Listeners[0], "c.example")
		if err == nil {
			t.Errorf("c.example is answered: %q", got)
		}
		refused++
	})
	s.WaitForRefusals("unknown-name", refused)
	plain, err := testrig.Client{}.Exchange(t, s.Process.Listeners[0], []byte(request))
	if want := []byte{21, 3, 1, 0, 2, 2, 70}; err != nil || !bytes.Equal(plain, want) {
		t.Errorf("a client without TLS gets %q, %v, want the alert %q", plain, err, want)
	}
	s.WaitForRefusals("no-tls", 1)
	testrig.ExpectContains(t, s.Process.Stderr(), `msg="TLS client refused" reason=unknown-name`, "server_name=c.example", "it is an HTTP client")
	s.FinishConnectionMode()
}

// What a client sends behind its ClientHello, and all that follows, arrives whole.
func TestPassedThroughStreamsAreWhole(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	echo := testrig.NewServer(t, testrig.ServerOptions{TLS: testrig.ServerTLS(tls.VersionTLS13)})
	s.StartConnectionMode([]testrig.Target{below(echo)}, "-listen", "tls://127.0.0.1:0", "-tls-passthrough")
	s.EchoMany(testrig.Client{TLS: testrig.ClientTLS()}, 20, 5, testrig.VariedSizes)
	s.FinishConnectionMode()
}

func TestCertificateIsChosenForRealClients(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	web := testrig.NewServer(t, testrig.ServerOptions{Handler: answer("web")})
	var args []string
	for _, hosts := range [][]string{{"first.example"}, {"*.b.example"}, {"www.b.example"}} {
		cert, key := pairFor(t, hosts...)
		args = append(args, "-tls-cert", cert, "-tls-key", key)
	}
	s.StartConnectionMode([]testrig.Target{web}, slices.Concat([]string{"-listen", "tls://127.0.0.1:0"}, args)...)
	forEachAsker(t, func(t *testing.T, a asker) {
		for _, host := range []string{"first.example", "x.b.example", "www.b.example"} {
			a.expectAnswer(t, s.Process.Listeners[0], host, "web")
		}
		if _, err := a.ask(t, s.Process.Listeners[0], "other.example"); err == nil {
			t.Error("a client takes a certificate for another host")
		}
	})
	s.FinishConnectionMode()
}

// startServices starts the linesplit under test with a file of services.
func startServices(t *testing.T, s *testrig.Stage, file string, listeners int) {
	t.Helper()
	s.Process = testrig.StartProcess(t, testrig.ProcessOptions{Args: []string{"-config", file}, Listeners: listeners})
}

// writeServices writes a file of services and returns its path.
func writeServices(t *testing.T, path, text string) string {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "linesplit.toml")
	}
	if err := testcert.Replace(path, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return path
}

// behindOnePort is a file of four services: connections that are passed through, connections whose
// TLS ends here, lines, and a service for all other clients.
const behindOnePort = `
admin = "127.0.0.1:0"
listen = "tls://%s"
tls-cert = %q
tls-key = %q
[service.shop]
mode = "connection"
tls-passthrough = true
sni = %s
target = %q
[service.web]
mode = "connection"
sni = "web.example"
target = %q
[service.lines]
sni = "lines.example"
target = %q
[service.other]
mode = "connection"
tls-passthrough = true
sni-default = ["unknown-name"]
target = %q
`

// Services behind one port: connections that are passed through, connections whose TLS ends here,
// lines, and a service for all other clients. A reload moves a name from one to another.
func TestServicesBehindOnePort(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	shop := namesShop(t, "shop", "shop.example", "new.example")
	other := namesShop(t, "other", "other.example", "shop.example")
	web := testrig.NewServer(t, testrig.ServerOptions{Handler: answer("web")})
	sink := s.StartSink(testrig.SinkOptions{})
	cert, key := pairFor(t, "web.example", "lines.example")
	addr := string(testrig.FreeHostPort(t))
	text := func(names string) string {
		return fmt.Sprintf(behindOnePort, addr, cert, key, names, "tcp://"+shop.Addr(), web.Target(), sink.Target(),
			"tcp://"+other.Addr())
	}
	file := writeServices(t, "", text(`["shop.example"]`))
	startServices(t, s, file, 4)
	forEachAsker(t, func(t *testing.T, a asker) {
		a.expectAnswer(t, addr, "shop.example", "shop as shop.example")
		a.expectAnswer(t, addr, "web.example", "web")
		a.expectAnswer(t, addr, "other.example", "other as other.example")
	})

	config := testrig.ClientTLS()
	config.ServerName = "lines.example"
	lines, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	s.Write(lines, s.NumberedLines(10, 100))
	testrig.WaitFor(t, "ten lines to arrive", func() bool { return sink.Lines() == 10 })
	lines.Close()

	config.ServerName = "" // which a client does not send, as for an address
	config.InsecureSkipVerify = true
	if conn, err := tls.Dial("tcp", addr, config); err == nil {
		conn.Close()
		t.Error("a client without a name is served")
	}
	s.WaitForRefusals("no-name", 1)

	open, err := tls.Dial("tcp", addr, func() *tls.Config { c := testrig.ClientTLS(); c.ServerName = "shop.example"; return c }())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	writeServices(t, file, text(`["new.example"]`))
	s.Process.Signal(syscall.SIGHUP)
	testrig.WaitFor(t, "the reload", func() bool { return strings.Contains(s.Process.Stderr(), "msg=reloaded changed=shop.sni") })
	askers[0].expectAnswer(t, addr, "new.example", "shop as new.example")
	askers[0].expectAnswer(t, addr, "shop.example", "other as shop.example")
	io.WriteString(open, request)
	if said, err := io.ReadAll(open); err != nil || !strings.HasSuffix(string(said), "shop as shop.example") {
		t.Errorf("a connection from before the reload: %q, %v", said, err)
	}
}

// A service that is removed leaves the port to the others, and one that is added joins them.
func TestServicesBehindOnePortComeAndGo(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	addr := string(testrig.FreeHostPort(t))
	service := func(name string) string {
		shop := namesShop(t, name, "a.example", "b.example")
		return fmt.Sprintf("[service.%s]\ntls-passthrough = true\nsni = \"%s.example\"\ntarget = %q\n", name, name, "tcp://"+shop.Addr())
	}
	head := fmt.Sprintf("admin = \"127.0.0.1:0\"\nlisten = \"tls://%s\"\nmode = \"connection\"\n", addr)
	a, b := service("a"), service("b")
	file := writeServices(t, "", head+a)
	startServices(t, s, file, 1)
	reload := func(text, logged string) {
		t.Helper()
		writeServices(t, file, text)
		s.Process.Signal(syscall.SIGHUP)
		testrig.WaitFor(t, logged, func() bool { return strings.Contains(s.Process.Stderr(), logged) })
	}
	askers[0].expectAnswer(t, addr, "a.example", "a as a.example")
	reload(head+a+b, "b (added)")
	askers[0].expectAnswer(t, addr, "a.example", "a as a.example")
	askers[0].expectAnswer(t, addr, "b.example", "b as b.example")
	reload(head+b, "a (removed)")
	askers[0].expectAnswer(t, addr, "b.example", "b as b.example")
	testrig.WaitFor(t, "the name is refused", func() bool {
		_, err := askers[0].ask(t, addr, "a.example")
		return err != nil && strings.Contains(err.Error(), "unrecognized name")
	})
}

// Clients come all the time while a new process takes the port over from an old one.
func TestRestartWithReusePortRefusesNoPassedThroughClient(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	shop := namesShop(t, "shop", "a.example")
	args := []string{"-mode", "connection", "-reuse-port", "-tls-passthrough", "-sni", "a.example", "-listen"}
	old := s.StartLinesplit([]testrig.Target{below(shop)}, append(args, "tls://127.0.0.1:0")...)
	addr := old.Listeners[0]

	var served atomic.Int64
	var asking sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 3 {
		asking.Go(func() {
			for ctx.Err() == nil {
				askers[0].expectAnswer(t, addr, "a.example", "shop as a.example")
				served.Add(1)
			}
		})
	}
	more := func() {
		goal := served.Load() + 10
		testrig.WaitFor(t, "more clients are served", func() bool { return served.Load() >= goal })
	}
	more()
	next := s.StartLinesplit([]testrig.Target{below(shop)}, append(args, "tls://"+addr)...)
	more()
	if code := old.Terminate(); code != 0 {
		t.Errorf("the old process ended with %d\n%s", code, old.LastLines(10))
	}
	more()
	stop()
	asking.Wait()
	next.Terminate()
}
