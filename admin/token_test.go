package admin

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenFiles(t *testing.T) {
	for _, test := range []struct{ name, text, err string }{
		{"word", "open-sesame", ""},
		{"with space around it", " \n open-sesame\r\n\n", ""},
		{"longest", strings.Repeat("x", maxToken), ""},
		{"too long", strings.Repeat("x", maxToken+1), "has more than"},
		{"shortest", strings.Repeat("x", minToken), ""},
		{"too short", strings.Repeat("x", minToken-1), "can be guessed"},
		{"one character", "x\n", "can be guessed"},
		{"empty", "", "is empty: put"},
		{"blank", " \n\t", "is empty: put"},
		{"two words", "open sesame", "one word"},
		{"not ASCII", "open-sésame", "one word"},
	} {
		file := tokenFile(t, test.text)
		_, err := LoadToken(file, nil)
		switch {
		case test.err == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), file)):
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestTokenFileMustNotBeWorldReadable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such permissions")
	}
	for mode, want := range map[os.FileMode]string{
		0o644: "chmod 600", 0o604: "chmod 600", 0o640: "", 0o400: "", 0o600: "", 0o660: "",
		0o622: "chmod 600", 0o602: "chmod 600", 0o620: "chmod 600",
	} {
		file := tokenFile(t, "open-sesame")
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadToken(file, nil)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%04o: %v", mode, err)
		}
	}
	if _, err := LoadToken(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("a directory: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "none")
	if _, err := LoadToken(missing, nil); err == nil || strings.Count(err.Error(), missing) != 1 {
		t.Errorf("nothing there: %v", err)
	}
}

func TestTokenMatches(t *testing.T) {
	token := loadToken(t)
	for shown, want := range map[string]bool{"open-sesame": true, "": false, "open-sesam": false, "open-sesame ": false, "OPEN-SESAME": false} {
		if got := token.Matches(shown); got != want {
			t.Errorf("%q: %v", shown, got)
		}
	}
	if (*Token)(nil).Matches("") || (*Token)(nil).Matches("x") {
		t.Error("without a token something matches")
	}
}

// A new token is in force within seconds. While the file cannot be used, the old token stays in
// force, and one warning is logged.
func TestTokenFollowsItsFile(t *testing.T) {
	file := tokenFile(t, "the-first")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		token, err := LoadToken(file, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		expect := func(right, wrong string) {
			t.Helper()
			time.Sleep(2 * time.Second) // longer than between checks
			if !token.Matches(right) || token.Matches(wrong) {
				t.Errorf("%s does not match, or %s does\n%s", right, wrong, &log)
			}
		}
		put := func(text string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put("second one")
		expect("the-first", "second one")
		put("the-second")
		expect("the-second", "the-first")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			expect("the-second", "the-first")
		}
		put("the-third")
		expect("the-third", "the-second")
		if runtime.GOOS != "windows" {
			if err := os.Chmod(file, 0o644); err != nil {
				t.Fatal(err)
			}
			expect("the-third", "the-second")
		}
		if warnings := strings.Count(log.String(), "keeping the old one"); warnings != 3 {
			t.Errorf("%d warnings:\n%s", warnings, &log)
		}
		if strings.Contains(log.String(), "third") {
			t.Error("the log has the token")
		}
	})
}
