//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"linesplit/internal/testrig"
)

// severalStage has a linesplit with services in a file.
type severalStage struct {
	*testrig.Stage
	file string
}

func (s *severalStage) write(services ...string) {
	s.Helper()
	text := "admin = \"127.0.0.1:0\"\n" + strings.Join(services, "")
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

// reload reads the services anew, and waits until the log says so.
func (s *severalStage) reload(services ...string) {
	s.Helper()
	s.write(services...)
	before := strings.Count(s.Process.Stderr(), "msg=reloaded")
	s.Process.Signal(syscall.SIGHUP)
	testrig.WaitFor(s.T, "the reload", func() bool {
		return strings.Count(s.Process.Stderr(), "msg=reloaded") > before || strings.Contains(s.Process.Stderr(), "reload failed")
	})
	if strings.Contains(s.Process.Stderr(), "reload failed") {
		s.Fatal(s.Process.LastLines(5))
	}
}

// listener returns the address of the last listener of a service that the log names.
func (s *severalStage) listener(service string) string {
	s.Helper()
	all := regexp.MustCompile(`(?m)msg=listening service=`+service+` listener=tcp://(\S+)`).FindAllStringSubmatch(s.Process.Stderr(), -1)
	if len(all) == 0 {
		s.Fatalf("the service %s does not listen", service)
	}
	return all[len(all)-1][1]
}

func lineTable(name string, targets ...testrig.Target) string {
	return table(name, "line", targets...)
}

func table(name, mode string, targets ...testrig.Target) string {
	var list []string
	for _, t := range targets {
		list = append(list, fmt.Sprintf("%q", t.Target()))
	}
	return fmt.Sprintf("[service.%s]\nmode = %q\nlisten = \"tcp://127.0.0.1:0\"\ntarget = [%s]\n", name, mode, strings.Join(list, ", "))
}

// Two services in one process, of either mode, while reloads add and remove others: not a line is
// lost, and connections stay open.
func TestSeveralServices(t *testing.T) {
	t.Parallel()
	web := testrig.NewServer(t, testrig.ServerOptions{})
	s := &severalStage{testrig.NewStage(t), filepath.Join(t.TempDir(), "services.toml")}
	a, b := s.StartTwoSinks()
	lines, other, server := lineTable("lines", a, b), lineTable("other", a), table("web", "connection", web)
	s.write(lines, server)
	s.Process = testrig.StartProcess(t, testrig.ProcessOptions{Args: []string{"-config", s.file}, Listeners: 2})

	client := testrig.Client{}
	open, err := client.Dial(t, s.listener("web"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	steady := testrig.SteadySender()
	steady.Addr = s.listener("lines")
	s.StartSenders(3, steady)
	for range 3 {
		s.reload(server, other, lines)
		s.StartSender(testrig.SenderOptions{Addr: s.listener("other"), Lines: 500})
		if err := client.Echo(t, s.listener("web"), testrig.Payload(100_000)); err != nil {
			t.Error(err)
		}
		s.reload(lines, server) // senders of the removed service are told, and what they have sent is delivered
		testrig.WaitFor(t, "the removed service has ended", func() bool {
			return s.Process.Metrics().Sum("linesplit_target_up", testrig.Label("service", "other")) == 0 &&
				s.CountLogLines("drain ended", "service=other") > 0
		})
	}
	s.StopSenders()
	if _, err := open.Write([]byte("still here")); err != nil {
		t.Error(err)
	}
	s.WaitForAllLines()
	m := s.Process.Metrics()
	if got := m.Sum("linesplit_received_lines_total", testrig.Label("service", "lines")); got == 0 {
		t.Errorf("no lines are counted:\n%s", m.Dump())
	}
	if got := m.Sum("linesplit_connections", testrig.Label("service", "web")); got != 1 {
		t.Errorf("%v connections of the service web", got)
	}
	open.Close()
	s.WaitForConnections(0)
	s.Terminate(0)
	s.CheckDelivery(m, testrig.OnlyResent)
}

// A service that cannot start is named, and with -start-partial the other one starts.
func TestServiceThatCannotStart(t *testing.T) {
	t.Parallel()
	target, taken := testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{})
	good, bad := table("good", "connection", target), table("bad", "connection", target)
	bad = strings.Replace(bad, "tcp://127.0.0.1:0", taken.Target(), 1)
	file := filepath.Join(t.TempDir(), "services.toml")
	if err := os.WriteFile(file, []byte("admin = \"127.0.0.1:0\"\n"+good+bad), 0o600); err != nil {
		t.Fatal(err)
	}
	p := testrig.StartProcess(t, testrig.ProcessOptions{Args: []string{"-config", file}})
	if code := p.Wait(); code != 1 || !strings.Contains(p.Stderr(), "service bad: ") {
		t.Errorf("exit code %d\n%s", code, p.Stderr())
	}
	s := testrig.NewStage(t)
	s.Process = testrig.StartProcess(t, testrig.ProcessOptions{Args: []string{"-config", file, "-start-partial"}, Listeners: 1})
	s.ExpectServed(testrig.Client{})
	testrig.ExpectContains(t, s.Process.Stderr(), `msg="service could not be started, others are" service=bad`)
	s.Terminate(0)
}

// A service whose input has ended does not end the others, nor does it keep reloads out.
func TestServiceWhoseInputEnds(t *testing.T) {
	t.Parallel()
	s := &severalStage{testrig.NewStage(t), filepath.Join(t.TempDir(), "services.toml")}
	sink, server := s.StartSink(testrig.SinkOptions{}), testrig.NewServer(t, testrig.ServerOptions{})
	input := strings.Replace(lineTable("input", sink), "tcp://127.0.0.1:0", "stdin:", 1)
	web := table("web", "connection", server)
	s.write(web, input)
	s.Process = testrig.StartProcess(t, testrig.ProcessOptions{
		Args: []string{"-config", s.file}, Listeners: 1, Stdin: strings.NewReader(string(s.NumberedLines(100, 100))),
	})
	testrig.WaitFor(t, "the account of the input", func() bool { return s.CountLogLines("drain ended", "service=input") > 0 })
	s.WaitForAllLines()
	s.ExpectServed(testrig.Client{})
	s.reload(web+"dial-timeout = \"3s\"\n", input)
	if n := s.CountLogLines("msg=reloaded", "web.dial-timeout"); n != 1 {
		t.Errorf("%d reloads in the log:\n%s", n, s.Process.LastLines(5))
	}
	s.Terminate(0)
}
