package cli

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linesplit/internal/simulate/sink"
	"linesplit/internal/testcert"
)

func TestSinkFlags(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	socket := filepath.Join(t.TempDir(), "s.sock")
	for _, test := range []struct {
		args string
		want func(*sinkSettings) // changes the defaults
	}{
		{"", func(*sinkSettings) {}},
		{"-listen tcp://127.0.0.1:1,unix://" + socket + " -listen unix://@x", func(s *sinkSettings) {
			s.sinks = []sink.Options{
				{Network: "tcp", Address: "127.0.0.1:1"}, {Network: "unix", Address: socket}, {Network: "unix", Address: "@x"},
			}
		}},
		{"-listen 127.0.0.1:1,:2,[::1]:3", func(s *sinkSettings) {
			s.sinks = []sink.Options{
				{Network: "tcp", Address: "127.0.0.1:1"}, {Network: "tcp", Address: ":2"}, {Network: "tcp", Address: "[::1]:3"},
			}
		}},
		{"-listen tcp://127.0.0.1:0,tcp://127.0.0.1:0", func(s *sinkSettings) {
			s.sinks = []sink.Options{{Network: "tcp", Address: "127.0.0.1:0"}, {Network: "tcp", Address: "127.0.0.1:0"}}
		}},
		{"-listen tls://[::1]:6514 -tls-min-version 1.3 -tls-cert " + certs.ServerCert + " -tls-key " + certs.ServerKey,
			func(s *sinkSettings) { s.sinks = []sink.Options{{Network: "tcp", Address: "[::1]:6514"}} }},
		{"-delay 1ms -read-rate 1MiB -max-connections 3 -idle-timeout 1m -refuse -chaos 2.5% -chaos-when mid-stream " +
			"-hang -reset-unread -request -receive-buffer 16KiB", func(s *sinkSettings) {
			s.sinks[0].Buffer = 16 << 10
			s.sinks[0].Behaviour = sink.Behaviour{
				Delay: time.Millisecond, ReadRate: 1 << 20, MaxConnections: 3, IdleTimeout: time.Minute, Refuse: true,
				Chaos: 2.5, ChaosWhen: sink.MidStream, Hang: true, ResetUnread: true, Request: true,
			}
		}},
		{"-half-close", func(s *sinkSettings) { s.sinks[0].Behaviour.HalfClose = true }},
		{"-verify -strict -expect a,b -expect c -json -output -", func(s *sinkSettings) {
			s.verify, s.strict, s.expect, s.json, s.output = true, true, []string{"a", "b", "c"}, true, "-"
		}},
		{"-duration 1m -until-quiet 5s -drain-timeout 1s", func(s *sinkSettings) {
			s.duration, s.untilQuiet, s.drain = time.Minute, 5*time.Second, time.Second
		}},
		{"-control localhost:9090", func(s *sinkSettings) { s.control = "localhost:9090" }},
		{"-control [::1]:9090", func(s *sinkSettings) { s.control = "[::1]:9090" }},
		{"-control :9090 -control-anywhere", func(s *sinkSettings) { s.control = ":9090" }},
	} {
		t.Run(test.args, func(t *testing.T) {
			got, err := parseSink(sinkCommand(), strings.Fields(test.args))
			if err != nil {
				t.Fatal(err)
			}
			want := wantedSinkSettings(test.want)
			diff := cmp.Diff(want, got, cmp.AllowUnexported(sinkSettings{}), cmpopts.IgnoreFields(sink.Options{}, "TLS"))
			if diff != "" {
				t.Error(diff)
			}
			for _, o := range got.sinks {
				if (o.TLS != nil) != strings.Contains(test.args, "tls://") {
					t.Errorf("TLS %v", o.TLS)
				}
			}
		})
	}
}

// wantedSinkSettings returns the defaults, as change changes them.
func wantedSinkSettings(change func(*sinkSettings)) sinkSettings {
	s := sinkSettings{sinks: []sink.Options{{Network: "tcp", Address: "127.0.0.1:9999"}}, drain: 5 * time.Second}
	s.sinks[0].Behaviour.ChaosWhen = sink.AtOnce
	change(&s)
	for i := range s.sinks {
		if s.sinks[i].Behaviour == (sink.Behaviour{}) {
			s.sinks[i].Behaviour.ChaosWhen = sink.AtOnce
		}
	}
	return s
}

func TestSinkFaults(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	for _, test := range []struct {
		args string
		want []string // parts of stderr
	}{
		{"-lisen tcp://:1", []string{"unknown flag -lisen", "did you mean -listen?", "run linesplit sink -help"}},
		{"now", []string{`unexpected argument "now"`, "linesplit sink takes flags only, such as -listen ADDRESS"}},
		{"-listen 9999", []string{"-listen", "a port alone: write :9999"}},
		{"-listen /tmp/x", []string{"-listen", "no scheme: write unix:///tmp/x"}},
		{"-listen udp://127.0.0.1:1", []string{"a sink reads streams"}},
		{"-listen http://127.0.0.1:1", []string{"a sink reads streams"}},
		{"-listen relp://127.0.0.1:1", []string{"a sink reads streams"}},
		{"-listen stdin:", []string{"a sink reads streams"}},
		{"-listen unix:///tmp/x?mode=0600", []string{"no options here"}},
		{"-listen unix:///nonexistent/x", []string{"directory /nonexistent"}},
		{"-listen tcp://127.0.0.1:1 -listen tcp://127.0.0.1:1", []string{"given twice"}},
		{"-listen ,", []string{"no listener"}},
		{"-listen tls://127.0.0.1:1", []string{"needs -tls-cert and -tls-key"}},
		{"-listen tls://127.0.0.1:1 -tls-cert " + certs.ServerCert, []string{"needs -tls-key too"}},
		{"-listen tls://127.0.0.1:1 -tls-cert " + certs.ServerCert + " -tls-key " + certs.MismatchedKey,
			[]string{`-tls-key "` + certs.MismatchedKey + `": not usable with the certificate ` + certs.ServerCert}},
		{"-tls-cert " + certs.ServerCert + " -tls-key " + certs.ServerKey,
			[]string{"-tls-cert", "-tls-key", "no listener speaks TLS"}},
		{"-strict -expect a", []string{`-strict "true": only valid with -verify`, `-expect "a": only valid with -verify`}},
		{"-control 0.0.0.0:9090", []string{"any program that can connect there"}},
		{"-control :9090", []string{"any program that can connect there"}},
		{"-control 9090", []string{"a port alone: write :9090 or HOST:9090"}},
		{"-control ::1:9090", []string{"write [::1]:9090"}},
		{"-control localhost:http", []string{`port "http": write a number`}},
		{"-control-anywhere", []string{"only valid with -control"}},
		{"-chaos 101", []string{"from 0 to 100"}},
		{"-chaos nan", []string{"from 0 to 100"}},
		{"-chaos-when never", []string{`-chaos-when "never": write at-once or mid-stream`}},
		{"-half-close -request", []string{"half close and request"}},
		{"-delay 1", []string{"-delay", "write 1s or 1ms"}},
		{"-idle-timeout 25h", []string{"idle timeout 25h"}},
		{"-read-rate 0", []string{"-read-rate", "out of bounds"}},
		{"-max-connections 0", []string{"-max-connections"}},
		{"-duration 0 -until-quiet x -drain-timeout -1s", []string{"-duration", "-until-quiet", "-drain-timeout"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := runCommand(t.Context(), "sink", strings.Fields(test.args), &stdout, &stderr)
			if code != exitUsage || stdout.Len() > 0 {
				t.Errorf("exit code %d, want %d; stdout %q", code, exitUsage, stdout.String())
			}
			for _, part := range test.want {
				if !strings.Contains(stderr.String(), part) {
					t.Errorf("lacks %q:\n%s", part, stderr.String())
				}
			}
		})
	}
}

func TestSinkHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := runCommand(t.Context(), "sink", []string{"-help"}, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
	for _, part := range []string{"linesplit sink", "-chaos PERCENT", "-expect FILE", "/close-unread"} {
		if !strings.Contains(stdout.String(), part) {
			t.Errorf("lacks %q", part)
		}
	}
}
