package regfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRead(t *testing.T) {
	name := file(t, "four")
	data, info, err := Read(name, 4)
	if err != nil || string(data) != "four" || info.Size() != 4 {
		t.Errorf("read %q, %v", data, err)
	}
	for what, test := range map[string]struct{ name, want string }{
		"a byte too much": {name, "more than 3 bytes"},
		"a directory":     {t.TempDir(), "is a directory, not a regular file"},
	} {
		if _, _, err := Read(test.name, 3); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := Read(name+"2", 1); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), name) {
		t.Errorf("nothing there: %v", err)
	}
}

// A file whose size says nothing, as those in /proc, is bounded by what is read.
func TestReadOfFileWithoutASize(t *testing.T) {
	const name = "/proc/self/maps"
	if _, err := os.Stat(name); err != nil {
		t.Skip("no /proc here")
	}
	if _, _, err := Read(name, 10); err == nil || !strings.Contains(err.Error(), "more than 10 bytes") {
		t.Errorf("%v", err)
	}
}

// While one caller's check hangs, others go on with what there is, and the check ends by itself.
func TestHungCheckHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := file(t, "1")
		hang, hangs := make(chan struct{}), false
		var loads atomic.Int32
		w, err := NewWatch([]string{name}, func() error {
			loads.Add(1)
			if hangs {
				<-hang
			}
			return nil
		}, func(bool, error) {})
		if err != nil {
			t.Fatal(err)
		}
		hangs = true
		if err := os.WriteFile(name, []byte("22"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(checkInterval)
		began := time.Now()
		w.Check()
		if took := time.Since(began); took != checkPatience {
			t.Errorf("the caller that began the check waited %v", took)
		}
		began = time.Now()
		for range 10 {
			w.Check()
		}
		if took := time.Since(began); took != 0 || loads.Load() != 2 {
			t.Errorf("others waited %v, with %d loads", took, loads.Load())
		}
		close(hang)
		synctest.Wait()
	})
}
