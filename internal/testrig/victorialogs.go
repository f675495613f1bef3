//go:build linux

package testrig

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// FindServer returns the path of a server that make servers has built, or skips the test.
func FindServer(tb testing.TB, name string) string {
	tb.Helper()
	root, err := moduleRoot()
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(root, "bin", "servers", name)
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("needs %s: run make servers", name)
	}
	return path
}

// VictoriaLogs is a real VictoriaLogs with a storage of its own, which outlives restarts.
type VictoriaLogs struct {
	tb   testing.TB
	path string
	dir  string
	addr HostPort
	cmd  *exec.Cmd
	log  *output
}

// StartVictoriaLogs starts one, or skips the test. It ends with the test.
func StartVictoriaLogs(t *testing.T) *VictoriaLogs {
	t.Helper()
	v := &VictoriaLogs{tb: t, path: FindServer(t, "victoria-logs"), dir: t.TempDir(), addr: FreeHostPort(t)}
	v.Start()
	t.Cleanup(v.Stop)
	return v
}

// Start starts it where it was, and waits until it listens.
func (v *VictoriaLogs) Start() {
	v.tb.Helper()
	v.log = &output{}
	v.cmd = exec.Command(v.path, "-httpListenAddr="+string(v.addr), "-storageDataPath="+v.dir, "-memory.allowedBytes=64MB")
	v.cmd.Stderr = v.log
	if err := v.cmd.Start(); err != nil {
		v.tb.Fatalf("victoria-logs: %v", err)
	}
	WaitFor(v.tb, "VictoriaLogs listens", v.addr.Listening)
}

// Stop ends it in order: what it has acknowledged is on disk then.
func (v *VictoriaLogs) Stop() {
	v.cmd.Process.Signal(syscall.SIGTERM)
	v.cmd.Wait()
}

// JSONLines returns the address of its API for lines of JSON.
func (v *VictoriaLogs) JSONLines() string {
	return "http://" + string(v.addr) + "/insert/jsonline?query=" + url.QueryEscape("_msg_field=event_id")
}

// Bulk returns the address of its bulk API.
func (v *VictoriaLogs) Bulk() string {
	return "http+bulk://" + string(v.addr) + "/insert/elasticsearch/_bulk?query=" + url.QueryEscape("_msg_field=event_id")
}

// Count returns how many lines it has, and how many of them are different.
func (v *VictoriaLogs) Count() (all, different string) {
	v.tb.Helper()
	query := url.Values{"query": {"* | stats count() all, count_uniq(_msg) different"}}
	answer, err := http.Get("http://" + string(v.addr) + "/select/logsql/query?" + query.Encode())
	if err != nil {
		v.tb.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		v.tb.Fatal(err)
	}
	var n struct{ All, Different string }
	if err := json.Unmarshal([]byte(strings.TrimSpace(string(text))), &n); err != nil {
		v.tb.Fatalf("VictoriaLogs answers %q to a query: %v", text, err)
	}
	return n.All, n.Different
}
