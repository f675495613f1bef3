package cli

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/send"
	"linesplit/internal/testcert"
)

func TestSendFlags(t *testing.T) {
	for _, test := range []struct {
		args string
		want func(*sendSettings) // changes the defaults
	}{
		{"-to 10.0.0.1:9000", func(s *sendSettings) {}},
		{"-to tcp://10.0.0.1:9000", func(s *sendSettings) {}},
		{"-to 10.0.0.1:9000,unix://@x -to unix:///run/x.sock", func(s *sendSettings) {
			s.To = append(s.To,
				send.Dial{Network: "unix", Address: "@x"}, send.Dial{Network: "unix", Address: "/run/x.sock"})
		}},
		{"-to 10.0.0.1:9000 -mix stream=15,request=50", func(s *sendSettings) {
			s.Mix = send.Mix{{Kind: send.Stream, Weight: 15}, {Kind: send.Request, Weight: 50}}
		}},
		{"-to 10.0.0.1:9000 -connections 7 -clients-per-second 0.5 -clients 9 -duration 1m", func(s *sendSettings) {
			s.Connections, s.ClientsPerSecond, s.Clients, s.Duration = 7, 0.5, 9, time.Minute
		}},
		{"-to 10.0.0.1:9000 -lines 10 -rate 2.5 -line-length 100-1KiB", func(s *sendSettings) {
			s.Lines, s.Rate = 10, 2.5
			s.Length = record.Length{Min: 100, Max: 1024}
		}},
		{"-to 10.0.0.1:9000 -slow-pause 1s -first-sender 100 -reconnect", func(s *sendSettings) {
			s.Pause, s.FirstSender, s.Reconnect = time.Second, 100, true
		}},
		{"-to 10.0.0.1:9000 -dial-timeout 1s -request-timeout 2s -grace 3s", func(s *sendSettings) {
			s.DialTimeout, s.Timeout, s.Grace = time.Second, 2*time.Second, 3*time.Second
		}},
		{"-to 10.0.0.1:9000 -file - -repeat 0", func(s *sendSettings) { s.file, s.Repeat = "-", -1 }},
		{"-to 10.0.0.1:9000 -file zeek.log -repeat 3", func(s *sendSettings) { s.file, s.Repeat = "zeek.log", 3 }},
	} {
		t.Run(test.args, func(t *testing.T) {
			want := sendSettings{Options: send.Options{
				To:  []send.Dial{{Network: "tcp", Address: "10.0.0.1:9000"}},
				Mix: send.Mix{{Kind: send.Stream, Weight: 1}}, Repeat: 1,
				Pause: 10 * time.Millisecond, DialTimeout: 5 * time.Second, Timeout: 5 * time.Second, Grace: 5 * time.Second,
			}}
			test.want(&want)
			got, err := parseSend(sendCommand(), strings.Fields(test.args))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v\nwant %+v", got, err, want)
			}
		})
	}

}

func TestSendTLSFlags(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	got, err := parseSend(sendCommand(), []string{"-to", "tls://localhost:1,localhost:2", "-tls-ca", certs.CA, "-tls-cert", certs.ClientCert,
		"-tls-key", certs.ClientKey, "-tls-server-name", "x", "-tls-min-version", "1.3"})
	if err != nil {
		t.Fatal(err)
	}
	if c := got.To[0].TLS; c == nil || c.ServerName != "x" || c.RootCAs == nil || c.GetClientCertificate == nil ||
		c.MinVersion != 0x304 || c.InsecureSkipVerify {
		t.Errorf("TLS configuration %+v", c)
	}
	if got.To[1].TLS != nil {
		t.Error("TLS to an address that does not speak it")
	}
}

// All faults are printed at once. Variables exported for linesplit itself have no effect.
func TestSendFaults(t *testing.T) {
	t.Setenv("LINESPLIT_CONNECTIONS", "many")
	for _, test := range []struct {
		args string
		want []string
	}{
		{"", []string{`-to "": nowhere to send to`}},
		{"-to 10.0.0.1", []string{`-to "10.0.0.1": no port: write 10.0.0.1:PORT`}},
		{"-to udp://h:1,ftp://h:1,h:1?weight=3", []string{
			`-to "udp://h:1": unknown scheme "udp": clients send streams, over tcp, tls or unix`, `-to "ftp://h:1": unknown scheme`, `-to "h:1?weight=3": no options here`,
		}},
		{"-to h:1 -mix stream=1,talk=3,request=0", []string{`unknown kind "talk"`, `weight "0" of request`}},
		{"-to h:1 -connections 0 -clients -1 -lines x -clients-per-second 0 -rate NaN", []string{
			`-connections "0"`, `-clients "-1"`, `-lines "x"`, `-clients-per-second "0"`, `-rate "NaN"`,
		}},
		{"-to h:1 -duration 10 -line-length long -first-sender -1 -repeat x", []string{
			`-duration "10": no unit`, `-line-length "long": write a number of bytes or a range, such as 600 or 100-64KiB`, `-first-sender "-1"`, `-repeat "x"`,
		}},
		{"-to h:1 -repeat 3", []string{`-repeat "3": only valid with -file`}},
		{"-to h:1 -file /tmp -line-length 100", []string{`-file "/tmp": a directory`, `-line-length "100": the lines of -file`}},
		{"-to h:1 -tls-ca x -tls-skip-verify", []string{
			`-tls-ca "x": no address speaks TLS`, `-tls-skip-verify "true": no address speaks TLS`,
		}},
		{"-to tls://h:1 -tls-cert x", []string{`-tls-cert "x": needs -tls-key too`}},
		{"-to tls://h:1 -tls-ca /nonexistent", []string{"/nonexistent"}},
		{"-to h:1 -mix idle,stream -clients 2", []string{"idle clients would take all connections"}},
		{"-to h:1 -rates 3 now", []string{
			"unknown flag -rates: did you mean -rate?", `unexpected argument "now": linesplit send takes flags only`,
		}},
	} {
		t.Run(test.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := runCommand(t.Context(), "send", strings.Fields(test.args), &stdout, &stderr)
			if code != exitUsage || stdout.Len() > 0 {
				t.Errorf("exit code %d, stdout %q", code, &stdout)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("no %q in %s", want, &stderr)
				}
			}
		})
	}
}

func TestSendHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := runCommand(t.Context(), "send", []string{"-help"}, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, &stderr)
	}
	for _, o := range sendCommand().options {
		if !strings.Contains(stdout.String(), "\n  -"+o.Name) {
			t.Errorf("-%s is not in the help", o.Name)
		}
	}
}
