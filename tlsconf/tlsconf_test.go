package tlsconf

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"linesplit/internal/testcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseVersion(t *testing.T) {
	tests := []struct {
		in   string
		want uint16
	}{
		{"1.2", tls.VersionTLS12},
		{"1.3", tls.VersionTLS13},
		{"1.1", 0}, {"1.0", 0}, {"", 0}, {"tls1.2", 0}, {"1.4", 0},
	}
	for _, tt := range tests {
		got, err := ParseVersion(tt.in)
		if got != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("ParseVersion(%q) = %#x, %v, want %#x", tt.in, got, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), "use 1.2 or 1.3") {
			t.Errorf("ParseVersion(%q): %v: does not say what is right", tt.in, err)
		}
	}
}

// TestErrors: each fault names role, file and what is wrong, and several faults are all named.
func TestErrors(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	missing := filepath.Join(t.TempDir(), "none.pem")
	text := write(t, "text.pem", []byte("hello\n"))
	empty := write(t, "empty.pem", nil)
	binary := write(t, "cert.der", der(t, f.CA))
	cut := write(t, "cut.pem", read(t, f.ServerCert)[:80])
	broken := write(t, "broken.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("nonsense")}))
	encrypted := write(t, "encrypted.key", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))
	oldEncrypted := write(t, "old.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("x"),
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}}))
	request := write(t, "request.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")}))
	backwards := write(t, "backwards.pem", append(read(t, f.CA), read(t, f.ServerCert)...))

	server := func(cert, key, ca string) error {
		_, err := NewServer(ServerFiles{Cert: cert, Key: key, ClientCA: ca})
		return err
	}
	client := func(ca, cert, key string) error {
		_, err := NewClient(ClientFiles{CA: ca, Cert: cert, Key: key})
		return err
	}
	tests := []struct {
		name string
		err  error
		want []string
	}{
		{"nothing", server("", "", ""), []string{"tls server certificate: none given"}},
		{"no key", server(f.ServerCert, "", ""), []string{"tls server key: none given", f.ServerCert}},
		{"no certificate", server("", f.ServerKey, ""), []string{"tls server certificate: none given", f.ServerKey}},
		{"client without key", client("", f.ClientCert, ""), []string{"tls target key: none given"}},
		{"client without certificate", client("", "", f.ClientKey), []string{"tls target certificate: none given"}},
		{"missing", server(missing, f.ServerKey, ""), []string{"tls server certificate " + missing, "no such file"}},
		{"directory", server(t.TempDir(), f.ServerKey, ""), []string{"is a directory"}},
		{"text", server(text, f.ServerKey, ""), []string{text, "not PEM"}},
		{"empty", server(empty, f.ServerKey, ""), []string{empty, "the file is empty"}},
		{"der", server(binary, f.ServerKey, ""), []string{binary, "looks like DER"}},
		{"cut off", server(cut, f.ServerKey, ""), []string{cut, "no block is complete"}},
		{"broken", server(broken, f.ServerKey, ""), []string{broken, "certificate 1 of the file"}},
		{"exchanged", server(f.ServerKey, f.ServerCert, ""), []string{
			"tls server certificate " + f.ServerKey + ": holds a private key, not a certificate",
			"tls server key " + f.ServerCert + ": holds a certificate, not a private key"}},
		{"request", server(request, f.ServerKey, ""), []string{"holds a certificate request, not a certificate"}},
		{"mismatch", server(f.ServerCert, f.MismatchedKey, ""), []string{"tls server key " + f.MismatchedKey, f.ServerCert, "does not match"}},
		{"chain backwards", server(backwards, f.ServerKey, ""), []string{backwards, "certificate 2 of the file: put that one first"}},
		{"encrypted", server(f.ServerCert, encrypted, ""), []string{encrypted, "encrypted", "openssl"}},
		{"encrypted the old way", server(f.ServerCert, oldEncrypted, ""), []string{oldEncrypted, "encrypted"}},
		{"client CA", server(f.ServerCert, f.ServerKey, f.ServerKey), []string{"tls client CA " + f.ServerKey, "holds a private key"}},
		{"all at once", server(missing, encrypted, text), []string{missing, encrypted, "tls client CA " + text}},
		{"no key and a bad CA", server(f.ServerCert, "", text), []string{"tls server key: none given", "tls client CA " + text}},
		{"target all at once", client(text, missing, empty), []string{"tls target CA " + text, "tls target certificate " + missing, "tls target key " + empty}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(tt.err.Error(), want) {
					t.Errorf("error %q does not say %q", tt.err, want)
				}
			}
		})
	}
	if _, err := NewServer(ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, MinVersion: tls.VersionTLS11}); err == nil {
		t.Error("server takes TLS 1.1")
	}
	if _, err := NewClient(ClientFiles{MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("client takes TLS 1.0")
	}
}

// TestOneFile: certificate and key may stand in one file, in either order.
func TestOneFile(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	cert, key := read(t, f.ServerCert), read(t, f.ServerKey)
	for _, data := range [][]byte{append(cert[:len(cert):len(cert)], key...), append(key[:len(key):len(key)], cert...)} {
		both := write(t, "both.pem", data)
		if _, err := NewServer(ServerFiles{Cert: both, Key: both}); err != nil {
			t.Error(err)
		}
	}
}

func TestSettings(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	c := mustClient(t, ClientFiles{ServerName: "a.example", SkipVerify: true})
	one, two := c.Config(), c.Config()
	if !one.DynamicRecordSizingDisabled || !one.InsecureSkipVerify || one.ServerName != "a.example" ||
		one.MinVersion != tls.VersionTLS12 || one.RootCAs != nil {
		t.Errorf("client config: %+v", one)
	}
	one.ServerName = "b.example"
	if two.ServerName != "a.example" || c.Config().ServerName != "a.example" {
		t.Error("client configs are not the caller's own")
	}
	outer := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, MinVersion: tls.VersionTLS13}).Config()
	inner, err := outer.GetConfigForClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*tls.Config{outer, inner} {
		if !c.SessionTicketsDisabled || c.MinVersion != tls.VersionTLS13 {
			t.Errorf("server config: tickets disabled %v, version %#x", c.SessionTicketsDisabled, c.MinVersion)
		}
	}
}

func TestHandshakes(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	both := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(both, append(read(t, f.OtherCA), read(t, f.CA)...), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := ServerFiles{Cert: f.ServerCert, Key: f.ServerKey}
	mutual := ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, ClientCA: f.CA}
	with := func(s ServerFiles, v uint16) ServerFiles { s.MinVersion = v; return s }
	tests := []struct {
		name       string
		server     ServerFiles
		client     ClientFiles
		maxVersion uint16 // of the client
		version    uint16 // zero: refused
	}{
		{"1.3", plain, ClientFiles{CA: f.CA}, 0, tls.VersionTLS13},
		{"1.2", plain, ClientFiles{CA: f.CA}, tls.VersionTLS12, tls.VersionTLS12},
		{"1.2 against 1.3 only", with(plain, tls.VersionTLS13), ClientFiles{CA: f.CA}, tls.VersionTLS12, 0},
		{"by name", plain, ClientFiles{CA: f.CA, ServerName: "localhost"}, 0, tls.VersionTLS13},
		{"wrong name", plain, ClientFiles{CA: f.CA, ServerName: "other.example"}, 0, 0},
		{"unknown authority", plain, ClientFiles{CA: f.OtherCA}, 0, 0},
		{"system's authorities", plain, ClientFiles{}, 0, 0},
		{"bundle", plain, ClientFiles{CA: both}, 0, tls.VersionTLS13},
		{"skip verify", plain, ClientFiles{SkipVerify: true, ServerName: "other.example"}, 0, tls.VersionTLS13},
		{"expired server", ServerFiles{Cert: f.ExpiredCert, Key: f.ExpiredKey}, ClientFiles{CA: f.CA}, 0, 0},
		{"mutual", mutual, ClientFiles{CA: f.CA, Cert: f.ClientCert, Key: f.ClientKey}, 0, tls.VersionTLS13},
		{"mutual 1.2", mutual, ClientFiles{CA: f.CA, Cert: f.ClientCert, Key: f.ClientKey}, tls.VersionTLS12, tls.VersionTLS12},
		{"mutual without certificate", mutual, ClientFiles{CA: f.CA}, 0, 0},
		{"mutual without certificate 1.2", mutual, ClientFiles{CA: f.CA}, tls.VersionTLS12, 0},
		{"mutual with a stranger's", mutual, ClientFiles{CA: f.CA, Cert: f.StrangerCert, Key: f.StrangerKey}, 0, 0},
		{"mutual with an expired one", mutual, ClientFiles{CA: f.CA, Cert: f.ExpiredCert, Key: f.ExpiredKey}, 0, 0},
		{"certificate that nobody asked for", plain, ClientFiles{CA: f.CA, Cert: f.ClientCert, Key: f.ClientKey}, 0, tls.VersionTLS13},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := mustClient(t, tt.client).Config()
			config.MaxVersion = tt.maxVersion
			near, far, err := shake(t, mustServer(t, tt.server).Config(), config)
			if tt.version == 0 {
				if err == nil {
					t.Fatal("accepted, want it refused")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v := near.ConnectionState().Version; v != tt.version {
				t.Errorf("version %#x, want %#x", v, tt.version)
			}
			if verified := len(far.ConnectionState().VerifiedChains) > 0; verified != (tt.server.ClientCA != "") {
				t.Errorf("client's certificate verified: %v", verified)
			}
			exchange(t, near, far)
		})
	}
}

// TestStrangerIsNamed: a certificate of an authority that the peer did not name is shown all the same, so that the
// peer can say what is wrong with it.
func TestStrangerIsNamed(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, ClientCA: f.CA}).Config()
	client := mustClient(t, ClientFiles{CA: f.CA, Cert: f.StrangerCert, Key: f.StrangerKey}).Config()
	_, _, err := shake(t, server, client)
	if err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("got %v, want the server to complain of an unknown authority", err)
	}
}

// TestNothingAfterHandshake: a sender that writes, never reads and closes would have its lines reset away if there were
// tickets for it to read.
func TestNothingAfterHandshake(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	near, far, err := shake(t, mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey}).Config(), mustClient(t, ClientFiles{CA: f.CA}).Config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write([]byte("line\n")); err != nil {
		t.Fatal(err)
	}
	near.NetConn().(*net.TCPConn).Close()
	data, err := io.ReadAll(far)
	if string(data) != "line\n" {
		t.Errorf("read %q, %v", data, err)
	}
	if err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Errorf("the connection broke: %v", err)
	}
}

// TestOneWriteOneRecord holds what the counting of acknowledged records rests on.
func TestOneWriteOneRecord(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	near, far, err := shake(t, mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey}).Config(), mustClient(t, ClientFiles{CA: f.CA}).Config())
	if err != nil {
		t.Fatal(err)
	}
	go near.Write(bytes.Repeat([]byte{'x'}, 16<<10))
	header := make([]byte, 5)
	if _, err := io.ReadFull(far.NetConn(), header); err != nil {
		t.Fatal(err)
	}
	if n := int(header[3])<<8 | int(header[4]); n <= 16<<10 {
		t.Errorf("first record holds %d bytes, want all 16384 and a tag", n)
	} else if _, err := io.CopyN(io.Discard, far.NetConn(), int64(n)); err != nil {
		t.Error(err)
	}
}

// TestReload runs over real connections: the old one goes on, the new one sees the new certificate.
func TestReload(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	ways := map[string]func(cert, key []byte){
		"rename": func(cert, key []byte) {
			must(t, testcert.Replace(f.ServerCert, cert))
			must(t, testcert.Replace(f.ServerKey, key))
		},
		"in place": func(cert, key []byte) {
			must(t, os.WriteFile(f.ServerCert, cert, 0o600))
			must(t, os.WriteFile(f.ServerKey, key, 0o600))
		},
	}
	for name, replace := range ways {
		t.Run(name, func(t *testing.T) {
			log := new(logbook)
			server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, Logger: log.logger()})
			client := mustClient(t, ClientFiles{CA: f.CA}).Config()
			config := server.Config()

			oldNear, oldFar, err := shake(t, config, client)
			must(t, err)
			cert, key, err := f.Authority.Issue(testcert.Options{Name: "new " + name})
			must(t, err)
			replace(cert, key)
			server.files.expire()
			newNear, newFar, err := shake(t, config, client)
			must(t, err)

			if got := newNear.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "new "+name {
				t.Errorf("new connection sees the certificate of %q", got)
			}
			exchange(t, oldNear, oldFar)
			exchange(t, newNear, newFar)
			if n := log.count("tls files reloaded"); n != 1 {
				t.Errorf("%d reloads logged, want 1\n%s", n, log)
			}
		})
	}
}

// TestReloadThroughSymlink: Kubernetes mounts a secret as links through one link to a directory, and turns that one.
func TestReloadThroughSymlink(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"v1", "v2"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	one, two := testcert.New(t, filepath.Join(dir, "v1")), testcert.New(t, filepath.Join(dir, "v2"))
	data, next := filepath.Join(dir, "..data"), filepath.Join(dir, "..next")
	must(t, os.Symlink("v1", data))
	ca := filepath.Join(dir, "ca.pem")
	must(t, os.Symlink(filepath.Join("..data", "ca.pem"), ca))
	client := mustClient(t, ClientFiles{CA: ca})
	serve := func(f testcert.Files) *tls.Config {
		return mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey}).Config()
	}
	if _, _, err := shake(t, serve(one), client.Config()); err != nil {
		t.Fatal(err)
	}
	must(t, os.Symlink("v2", next))
	must(t, os.Rename(next, data))
	client.files.expire()
	if _, _, err := shake(t, serve(two), client.Config()); err != nil {
		t.Errorf("new authority: %v", err)
	}
	if _, _, err := shake(t, serve(one), client.Config()); err == nil {
		t.Error("the old authority is still trusted")
	}
}

// TestBrokenReload: half of a change is kept away from handshakes, logged once, and healed by the other half.
func TestBrokenReload(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	log := new(logbook)
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, Logger: log.logger()})
	client := mustClient(t, ClientFiles{CA: f.CA}).Config()
	peer := func() string {
		t.Helper()
		server.files.expire()
		near, _, err := shake(t, server.Config(), client)
		must(t, err)
		return near.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	const complaint = "cannot be used"

	cert, key, err := f.Authority.Issue(testcert.Options{Name: "new"})
	must(t, err)
	must(t, testcert.Replace(f.ServerCert, cert))
	for range 3 {
		if got := peer(); got != "server" {
			t.Errorf("half a change: certificate of %q, want the old one", got)
		}
	}
	if n := log.count(complaint); n != 1 || log.count("does not match") != 1 || log.count(f.ServerKey) == 0 {
		t.Errorf("%d complaints, want one that names the file and the reason\n%s", n, log)
	}

	must(t, os.Remove(f.ServerKey))
	if got := peer(); got != "server" {
		t.Errorf("missing key: certificate of %q, want the old one", got)
	}
	if n := log.count(complaint); n != 2 {
		t.Errorf("%d complaints after another change, want 2\n%s", n, log)
	}

	must(t, testcert.Replace(f.ServerKey, key))
	if got := peer(); got != "new" {
		t.Errorf("whole change: certificate of %q, want the new one", got)
	}
	if n := log.count("tls files reloaded"); n != 1 {
		t.Errorf("%d reloads logged, want 1\n%s", n, log)
	}
}

// TestPassingFault: a reading that failed for want of a descriptor, say, is tried again though no file has changed.
func TestPassingFault(t *testing.T) {
	name := write(t, "file", []byte("1"))
	var loads int
	var fault error
	log := new(logbook)
	r, err := newReloader("server", log.logger(), []string{name}, func() (*material, error) {
		loads++
		return &material{config: new(tls.Config)}, fault
	})
	must(t, err)
	fault = os.ErrInvalid
	must(t, testcert.Replace(name, []byte("2")))
	for range 3 {
		r.expire()
		r.config()
	}
	if loads != 4 || log.count("cannot be used") != 1 {
		t.Errorf("%d readings, want 4, and one complaint\n%s", loads, log)
	}
	fault = nil
	r.expire()
	r.config()
	r.expire()
	r.config()
	if loads != 5 || log.count("reloaded") != 1 {
		t.Errorf("%d readings, want 5, and one reload\n%s", loads, log)
	}
}

// TestOnceASecond: files are looked at lazily and at most once in checkInterval.
func TestOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := write(t, "file", []byte("0"))
		var loads int
		r, err := newReloader("server", slog.New(slog.DiscardHandler), []string{name}, func() (*material, error) {
			loads++
			return &material{config: new(tls.Config)}, nil
		})
		must(t, err)
		first := r.config()
		must(t, testcert.Replace(name, []byte("1")))
		time.Sleep(checkInterval - 1)
		if r.config() != first || loads != 1 {
			t.Error("files were looked at before their time")
		}
		time.Sleep(time.Nanosecond)
		if loads != 1 {
			t.Error("files were read though nobody asked")
		}
		second := r.config()
		if second == first || loads != 2 {
			t.Error("the change was not seen after a second")
		}
		must(t, testcert.Replace(name, []byte("2")))
		if r.config() != second || loads != 2 {
			t.Error("files were looked at twice within a second")
		}
		time.Sleep(time.Hour)
		r.config()
		time.Sleep(time.Hour)
		r.config()
		if loads != 3 {
			t.Errorf("%d readings, want 3", loads)
		}
	})
}

// TestPipe: what is no regular file is read once and never again.
func TestPipe(t *testing.T) {
	var loads int
	name := write(t, "file", nil)
	r, err := newReloader("server", slog.New(slog.DiscardHandler), []string{name, os.DevNull}, func() (*material, error) {
		loads++
		return &material{config: new(tls.Config)}, nil
	})
	must(t, err)
	must(t, testcert.Replace(name, []byte("1")))
	r.expire()
	r.config()
	if loads != 1 {
		t.Errorf("%d readings, want 1", loads)
	}
}

// TestValidity: a certificate's end is announced once per stage, at the start or while running.
func TestValidity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testcert.New(t, t.TempDir())
		log := new(logbook)
		now := time.Now()
		must(t, f.Authority.WritePair(f.ServerCert, f.ServerKey, testcert.Options{
			NotBefore: now.Add(time.Hour), NotAfter: now.Add(30 * 24 * time.Hour)}))
		server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, ClientCA: f.CA, Logger: log.logger()})
		expect := func(early, soon, late int) {
			t.Helper()
			for range 2 {
				server.files.config()
				time.Sleep(checkInterval)
			}
			got := [3]int{log.count("not valid yet"), log.count("expires soon"), log.count("has expired")}
			if got != [3]int{early, soon, late} {
				t.Errorf("warnings %v, want %v\n%s", got, [3]int{early, soon, late}, log)
			}
		}
		expect(1, 0, 0)
		time.Sleep(2 * time.Hour)
		expect(1, 0, 0)
		time.Sleep(15*24*time.Hour + 23*time.Hour)
		expect(1, 1, 0)
		time.Sleep(14 * 24 * time.Hour)
		expect(1, 1, 1)
		must(t, f.Authority.WritePair(f.ServerCert, f.ServerKey, testcert.Options{}))
		expect(1, 1, 1)
		if log.count("tls files reloaded") != 1 || log.count("role=\"server certificate\" file="+f.ServerCert) != 3 {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestExpiredIsNoError(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	log := new(logbook)
	mustServer(t, ServerFiles{Cert: f.ExpiredCert, Key: f.ExpiredKey, Logger: log.logger()})
	mustClient(t, ClientFiles{Cert: f.ExpiredCert, Key: f.ExpiredKey, CA: f.ExpiredCert, Logger: log.logger()})
	if n := log.count("has expired"); n != 3 {
		t.Errorf("%d warnings, want 3\n%s", n, log)
	}
}

func TestConcurrentUse(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				server.files.expire()
				if c, err := server.Config().GetConfigForClient(nil); err != nil || c == nil {
					t.Error(c, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if err := f.Authority.WritePair(f.ServerCert, f.ServerKey, testcert.Options{}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

// expire makes the next look due.
func (r *reloader) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checked = time.Time{}
}

func mustServer(t *testing.T, f ServerFiles) *Server {
	t.Helper()
	s, err := NewServer(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClient(t *testing.T, f ClientFiles) *Client {
	t.Helper()
	c, err := NewClient(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shake makes a TCP connection and both sides' handshakes. The error is the server's first: in TLS 1.3 the client is
// done before the server has looked at its certificate.
func shake(t *testing.T, server, client *tls.Config) (near, far *tls.Conn, err error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	if client.ServerName == "" {
		client.ServerName = "127.0.0.1"
	}
	dialled := make(chan error, 1)
	go func() {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			near = tls.Client(conn, client)
			if err = near.Handshake(); err != nil {
				conn.Close()
			}
		}
		dialled <- err
	}()
	conn, err := ln.Accept()
	must(t, err)
	far = tls.Server(conn, server)
	serverErr := far.Handshake()
	if serverErr != nil {
		conn.Close()
	}
	clientErr := <-dialled
	t.Cleanup(func() { near.Close(); far.Close() })
	if clientErr != nil && (serverErr == nil || strings.Contains(serverErr.Error(), "remote error")) {
		return near, far, clientErr
	}
	return near, far, serverErr
}

func exchange(t *testing.T, near, far net.Conn) {
	t.Helper()
	go near.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

func der(t *testing.T, path string) []byte {
	t.Helper()
	block, _ := pem.Decode(read(t, path))
	return block.Bytes
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logbook keeps what was logged. Safe for concurrent use.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) count(s string) int { return strings.Count(l.String(), s) }
