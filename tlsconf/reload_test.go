package tlsconf

import (
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/testcert"
)

// After a reload the old connection goes on, and a new one gets the new certificate.
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
			log := new(logBuffer)
			server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, Logger: log.logger()})
			client := mustClient(t, ClientFiles{CA: f.CA}).Config()
			config := server.Config()

			oldNear, oldFar, err := handshake(t, config, client)
			must(t, err)
			cert, key, err := f.Authority.Issue(testcert.Options{Name: "new " + name})
			must(t, err)
			replace(cert, key)
			server.files.expire()
			newNear, newFar, err := handshake(t, config, client)
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

// Kubernetes mounts a secret as links through one link to a directory, and replaces that link.
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
	if _, _, err := handshake(t, serve(one), client.Config()); err != nil {
		t.Fatal(err)
	}
	must(t, os.Symlink("v2", next))
	must(t, os.Rename(next, data))
	client.files.expire()
	if _, _, err := handshake(t, serve(two), client.Config()); err != nil {
		t.Errorf("new authority: %v", err)
	}
	if _, _, err := handshake(t, serve(one), client.Config()); err == nil {
		t.Error("the old authority is still trusted")
	}
}

// Half of a change is not used and is logged once; the other half makes the whole change effective.
func TestHalfAChangeIsNotUsed(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	log := new(logBuffer)
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, Logger: log.logger()})
	client := mustClient(t, ClientFiles{CA: f.CA}).Config()
	peer := func() string {
		t.Helper()
		server.files.expire()
		near, _, err := handshake(t, server.Config(), client)
		must(t, err)
		return near.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	const refusal = "cannot be used"

	cert, key, err := f.Authority.Issue(testcert.Options{Name: "new"})
	must(t, err)
	must(t, testcert.Replace(f.ServerCert, cert))
	for range 3 {
		if got := peer(); got != "server" {
			t.Errorf("half a change: certificate of %q, want the old one", got)
		}
	}
	if n := log.count(refusal); n != 1 || log.count("does not match") != 1 || log.count(f.ServerKey) == 0 {
		t.Errorf("%d warnings, want one that names the file and the reason\n%s", n, log)
	}

	must(t, os.Remove(f.ServerKey))
	if got := peer(); got != "server" {
		t.Errorf("missing key: certificate of %q, want the old one", got)
	}
	if n := log.count(refusal); n != 2 {
		t.Errorf("%d warnings after another change, want 2\n%s", n, log)
	}

	must(t, testcert.Replace(f.ServerKey, key))
	if got := peer(); got != "new" {
		t.Errorf("whole change: certificate of %q, want the new one", got)
	}
	if n := log.count("tls files reloaded"); n != 1 {
		t.Errorf("%d reloads logged, want 1\n%s", n, log)
	}
}

// A reading that failed, for example for want of a descriptor, is repeated although no file has
// changed.
func TestFailedReadingIsRepeated(t *testing.T) {
	name := write(t, "file", []byte("1"))
	var loads int
	var fault error
	log := new(logBuffer)
	r, err := newReloader("server", log.logger(), []string{name}, func(*material) (*material, error) {
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
		t.Errorf("%d readings, want 4, and one warning\n%s", loads, log)
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

// Files are checked only when a configuration is needed, and at most once in a second.
func TestFilesAreCheckedAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := write(t, "file", []byte("0"))
		var loads int
		r, err := newReloader("server", slog.New(slog.DiscardHandler), []string{name}, func(*material) (*material, error) {
			loads++
			return &material{config: new(tls.Config)}, nil
		})
		must(t, err)
		first := r.config()
		must(t, testcert.Replace(name, []byte("1")))
		time.Sleep(time.Second - 1)
		if r.config() != first || loads != 1 {
			t.Error("files were checked too early")
		}
		time.Sleep(time.Nanosecond)
		if loads != 1 {
			t.Error("files were read although no configuration was needed")
		}
		second := r.config()
		if second == first || loads != 2 {
			t.Error("the change was not seen after a second")
		}
		must(t, testcert.Replace(name, []byte("2")))
		if r.config() != second || loads != 2 {
			t.Error("files were checked twice within a second")
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

// A pipe in place of a certificate once stopped every handshake, since the pipe waited for its
// writer and the handshakes for the lock; also after the file was back.
func TestFileThatBecomesSomethingElse(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	log := new(logBuffer)
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, Logger: log.logger()})
	client := mustClient(t, ClientFiles{CA: f.CA}).Config()
	cert := read(t, f.ServerCert)
	for name, replace := range strangeFiles(t) {
		must(t, os.Remove(f.ServerCert))
		must(t, replace(f.ServerCert))
		for range 3 {
			server.files.expire()
			if _, _, err := handshake(t, server.Config(), client); err != nil {
				t.Errorf("with %s in place of the certificate: %v", name, err)
			}
		}
		must(t, os.Remove(f.ServerCert))
		must(t, os.WriteFile(f.ServerCert, cert, 0o600))
		server.files.expire()
		if _, _, err := handshake(t, server.Config(), client); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	kinds := len(strangeFiles(t))
	if warnings, reloads := log.count("cannot be used"), log.count("reloaded"); warnings != kinds || reloads != kinds {
		t.Errorf("%d warnings and %d reloads, want %d of each\n%s", warnings, reloads, kinds, log)
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

// expire makes the next check due.
func (r *reloader) expire() { r.watch.Expire() }
