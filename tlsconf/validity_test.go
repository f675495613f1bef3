package tlsconf

import (
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/testcert"
)

// Each stage of the validity of a certificate is logged once, at the start or later.
func TestValidityIsLoggedOncePerStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testcert.New(t, t.TempDir())
		log := new(logBuffer)
		now := time.Now()
		must(t, f.Authority.WritePair(f.ServerCert, f.ServerKey, testcert.Options{
			NotBefore: now.Add(time.Hour), NotAfter: now.Add(30 * 24 * time.Hour)}))
		server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, ClientCA: f.CA, Logger: log.logger()})
		expect := func(early, soon, late int) {
			t.Helper()
			for range 2 {
				server.files.config()
				time.Sleep(time.Second)
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

func TestExpiredCertificateIsNotAnError(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	log := new(logBuffer)
	mustServer(t, ServerFiles{Cert: f.ExpiredCert, Key: f.ExpiredKey, Logger: log.logger()})
	mustClient(t, ClientFiles{Cert: f.ExpiredCert, Key: f.ExpiredKey, CA: f.ExpiredCert, Logger: log.logger()})
	if n := log.count("has expired"); n != 3 {
		t.Errorf("%d warnings, want 3\n%s", n, log)
	}
}
