//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/internal/testrig"
)

// status sends a request as JSON and returns the status of the answer.
func (d door) status(t *testing.T, method, path, token, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, d.url(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := d.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// Guesses were as fast as the network. Now a peer that guesses has to wait, also with the right
// token, while others and what needs no token do not.
func TestTokenCannotBeGuessedFast(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("opensesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := door{network: "tcp"}
	startAdmin(t, &d, "-admin", "127.0.0.1:0", "-admin-token-file", token)
	codes := map[int]int{}
	for i := range 100 {
		codes[d.status(t, "GET", "/api/v1/config", fmt.Sprint("opensesam", i), "")]++
	}
	if codes[401] > 50 || codes[429] == 0 {
		t.Errorf("answers to 100 guesses: %v", codes)
	}
	if code := d.status(t, "GET", "/healthz", "opensesam", ""); code != 200 {
		t.Errorf("probe: %d", code)
	}
	testrig.WaitFor(t, "the right token is compared", func() bool {
		return d.status(t, "GET", "/api/v1/config", "opensesame", "") == 200
	})
}

// A token that others may write, or of one character, was accepted.
func TestWeakTokenFilesAreRefused(t *testing.T) {
	t.Parallel()
	for _, weak := range []struct {
		text string
		mode os.FileMode
		want string
	}{{"opensesame", 0o622, "mode 0622"}, {"x", 0o600, "can be guessed"}} {
		token := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(token, []byte(weak.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(token, weak.mode); err != nil {
			t.Fatal(err)
		}
		o := testrig.NewProcessOptions([]testrig.Target{testrig.TargetFlag("127.0.0.1:9")}, "-admin-token-file", token)
		o.Listeners = 0
		p := testrig.StartProcess(t, o)
		if code := p.Wait(); code == 0 || !strings.Contains(p.Stderr(), weak.want) {
			t.Errorf("exit code %d, want %q\n%s", code, weak.want, p.Stderr())
		}
	}
}

// A chmod of the socket gave all users of the machine the rights of its owner, and names with
// control characters became targets.
func TestSocketThatIsOpenedToAllLosesItsTrust(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.sock")
	d := door{network: "unix"}
	startAdmin(t, &d, "-admin", "unix://"+path)
	for _, name := range []string{`unix:///a\u001b[2Jb`, `unix:///a\u202eb`, `unix:///a\u0000b`} {
		if code := d.status(t, "POST", "/api/v1/targets", "", `{"address":"`+name+`"}`); code != 422 {
			t.Errorf("target %s: %d", name, code)
		}
	}
	for mode, want := range map[os.FileMode]int{0o666: 403, 0o660: 200} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if code := d.status(t, "POST", "/api/v1/reload", "", ""); code != want {
			t.Errorf("mode %04o: %d, want %d", mode, code, want)
		}
	}
}
