//go:build linux

package e2e

import (
	"crypto/tls"
	"testing"

	"linesplit/internal/testrig"
)

// One of two TLS targets refuses our certificate. With TLS 1.3 that target passed the check, and
// every other client was reset.
func TestTargetThatRefusesOurCertificateGetsNoClients(t *testing.T) {
	t.Parallel()
	for name, version := range testrig.TLSVersions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			config := testrig.ServerTLS(version)
			demanding := config.Clone()
			demanding.ClientAuth, demanding.ClientCAs = tls.RequireAndVerifyClientCert, testrig.Certs.Pool()
			good := testrig.NewServer(t, testrig.ServerOptions{TLS: config})
			refusing := testrig.NewServer(t, testrig.ServerOptions{TLS: demanding})
			args := append(testrig.TLSTargetArgs(), "-health", "tls", "-health-interval", "200ms")
			s.StartConnectionMode([]testrig.Target{good, refusing}, args...)
			s.WaitForTargetUp(refusing, false) // a dial before that may not wait long enough for the refusal
			s.WaitForTargetUp(good, true)
			s.EchoMany(testrig.Client{}, 10, 2, testrig.FixedSize(1000))
			s.FinishConnectionMode()
		})
	}
}
