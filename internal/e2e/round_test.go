//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"linesplit/internal/testrig"
)

// Services that sent to each other by a target from a source, which the configuration does not
// show, passed ten million lines a second round and round, and could not drain.
func TestServicesDoNotSendInARound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &severalStage{testrig.NewStage(t), filepath.Join(dir, "services.toml")}
	sink := s.StartSink(testrig.SinkOptions{})
	at := freePlaces(t, 3)
	list := filepath.Join(dir, "targets.json")
	service := func(i int, target string) string {
		return fmt.Sprintf("[service.%c]\nlisten = \"tcp://%s\"\ntarget = [%s]\n", 'a'+i, at[i], target)
	}
	_, portA, _ := net.SplitHostPort(at[0])
	s.write(service(0, fmt.Sprintf("%q, \"file://%s?refresh=1s\"", sink.Target(), list)),
		service(1, fmt.Sprintf("%q", at[2])), service(2, `"localhost:`+portA+`"`))
	s.Process = testrig.StartProcess(t, testrig.ProcessOptions{Args: []string{"-config", s.file}, Listeners: 3})
	testrig.WaitFor(t, "b sends to c, and c to a", func() bool {
		return s.CountLogLines("msg=connected", "service=b") > 0 && s.CountLogLines("msg=connected", "service=c") > 0
	})
	if err := os.WriteFile(list, fmt.Appendf(nil, `[{"targets": [%q]}]`, at[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	testrig.WaitFor(t, "a is kept from sending to b", func() bool {
		return s.CountLogLines(`msg="target down"`, "service=a", at[1], "round for ever: a to b to c to a") > 0
	})
	s.StartSender(testrig.SenderOptions{Addr: at[1], Lines: 1000})
	s.WaitForSenders()
	s.WaitForAllLines()
	s.Terminate(0)
}

// freePlaces returns addresses at which nothing listens.
func freePlaces(t *testing.T, n int) (all []string) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		all = append(all, ln.Addr().String())
	}
	return all
}
