package discovery

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"linesplit/target"
)

func TestParseSpec(t *testing.T) {
	for text, want := range map[string]string{ // the place, and a target at h:1
		"dns://app.example:9999":                                                     "app.example:9999 tcp://h:1",
		"dns://[2001:db8::1]:9999?scheme=udp":                                        "[2001:db8::1]:9999 udp://h:1",
		"dns://app:9?scheme=http&path=/in&linger=1s":                                 "app:9 http://h:1/in?linger=1s",
		"dns://app:9?scheme=http%2Bbulk&path=/x/_bulk":                               "app:9 http+bulk://h:1/x/_bulk",
		"dns://app:9?scheme=http+bulk&path=/x/_bulk":                                 "app:9 http+bulk://h:1/x/_bulk",
		"dns://app:9?scheme=tls&server-name=x.test&weight=4":                         "app:9 tls://h:1?server-name=x.test&weight=4",
		"srv://_logs._tcp.example?via-proxy=true":                                    "_logs._tcp.example tcp://h:1?via-proxy=true",
		"srv://web.service.consul":                                                   "web.service.consul tcp://h:1",
		"file:///etc/targets.json":                                                   "/etc/targets.json tcp://h:1",
		"file:///etc/targets.yml?refresh=5s":                                         "/etc/targets.yml tcp://h:1",
		"exec:///usr/bin/targets":                                                    "/usr/bin/targets tcp://h:1",
		"discover+http://h/sd?scheme=tls&zone=a&x":                                   "http://h/sd?zone=a&x tls://h:1",
		"discover+https://h:8501/v1/health/service/a?passing&backup=true&refresh=9s": "https://h:8501/v1/health/service/a?passing tcp://h:1?backup=true",
	} {
		s, err := ParseSpec(text, false)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		a, err := s.parse("h:1")
		if got := s.place + " " + a.Written(); got != want || err != nil || !IsSource(text) || s.String() != text {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	if s, err := ParseSpec("dns://a:1", true); err != nil || !s.Sample().Secure() {
		t.Errorf("TLS by default: %+v, %v", s, err)
	}
	if s, err := ParseSpec("file:///a.json?refresh=1m", true); err != nil || s.interval(Answer{}) != time.Minute {
		t.Errorf("refresh: %+v, %v", s, err)
	}
}

func TestParseSpecFaults(t *testing.T) {
	for text, want := range map[string]string{
		"dns://app":                           "no port: write app:PORT",
		"dns://:9999":                         "no name to look up: write dns://NAME:9999",
		"dns://app:99999":                     `port "99999" is not a number`,
		"dns://a b:9":                         "neither a host name",
		"dns://app:9?colour=red":              `unknown option "colour": use scheme=tls`,
		"dns://app:9?scheme=unix":             `scheme="unix" is none of targets`,
		"dns://app:9?server-name=x":           "only valid for a target with TLS",
		"dns://app:9?weight=0":                `weight="0" is not a number from 1`,
		"dns://app:9?weight=1&weight=2":       "given 2 times",
		"dns://app:9?refresh=1":               `refresh="1" is no duration from 1s to 24h`,
		"dns://app:9?refresh=1s&refresh=2s":   "given 2 times",
		"dns://app:9?token-file=/x":           `unknown option "token-file"`,
		"srv://_logs._tcp.example:9":          "the records name the port",
		"srv://":                              "no name",
		"srv://a?weight=2":                    "the records have weights",
		"file://targets.json":                 "no absolute path",
		"file:///etc/targets.conf":            "the extension tells the format",
		"exec://targets":                      "no absolute path",
		"discover+http://":                    "no host",
		"discover+http://user:secret@h/":      "would show in logs",
		"discover+http://h/?token-file=token": "token-file=token is no absolute path",
		"discover+https://h/#x":               "a # has no meaning",
	} {
		_, err := ParseSpec(text, false)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), text[:4]) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"h:1", "tcp://h:1", "unix:///x", "http://h/", "dns:h:1"} {
		if IsSource(text) {
			t.Errorf("%s is no source", text)
		}
	}
}

// A program that is not executable is found before anything starts; a file may come later.
func TestSpecCheck(t *testing.T) {
	dir := t.TempDir()
	plain, program := filepath.Join(dir, "plain.json"), filepath.Join(dir, "program")
	for name, mode := range map[string]os.FileMode{plain: 0o600, program: 0o700} {
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"exec://" + program:            "",
		"exec://" + plain:              "not executable: run chmod +x",
		"exec://" + dir:                "is a directory",
		"exec:///nonexistent/x":        "cannot be started: no such file",
		"file://" + plain:              "",
		"file:///nonexistent/x.json":   "",
		"file:///dev/../dev/null.json": "",
		"dns://app:9":                  "",
	} {
		err := mustSpec(t, text).Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestParseResolver(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "udp://10.0.0.1:53", "10.0.0.1:5353": "udp://10.0.0.1:5353", "::1": "udp://[::1]:53",
		"[::1]:8600": "udp://[::1]:8600", "tcp://127.0.0.1:8600": "tcp://127.0.0.1:8600", "tcp://127.0.0.1": "tcp://127.0.0.1:53",
		"[::1]": "udp://[::1]:53",
	} {
		if got, err := ParseResolver(text); got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "dns.example", "dns.example:53", "10.0.0.1:0x", "https://10.0.0.1", "10.0.0.1:70000"} {
		if got, err := ParseResolver(text); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, text := range []string{"dns://a:1?scheme=tls", "srv://_a._tcp.b", "file:///a.json?refresh=1s", "discover+http://h/?a&weight=2"} {
		f.Add(text, "10.0.0.1:9")
	}
	f.Fuzz(func(t *testing.T, text, place string) {
		if !IsSource(text) {
			return
		}
		s, err := ParseSpec(text, false)
		if err != nil {
			return
		}
		a, err := s.parse(place)
		if err != nil {
			return
		}
		if again, err := target.ParseAddress(a.Written(), false); err != nil || again != a {
			t.Errorf("%s at %s: %q is read as %+v, %v, want %+v", text, place, a.Written(), again, err, a)
		}
	})
}
