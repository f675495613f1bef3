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

// A disk that does not answer holds up a reader for a limited time, and later readers hardly at
// all. Once it answers, all is well.
func TestDiskThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		hang := func() (int, error) { <-answer; return 1, nil }
		try := func() (time.Duration, error) {
			began := time.Now()
			_, err := within("hung", hang)
			return time.Since(began), err
		}
		if took, err := try(); took != readTimeout || !errors.Is(err, errNoAnswer) {
			t.Errorf("the first read took %v: %v", took, err)
		}
		if took, err := try(); took != 0 || !errors.Is(err, errNoAnswer) {
			t.Errorf("the next read took %v: %v", took, err)
		}
		hung := 1
		for range 2 * maxStuck {
			time.Sleep(stuckInterval)
			if took, _ := try(); took > 0 {
				hung++
			}
		}
		if hung != maxStuck {
			t.Errorf("%d reads hang, want %d", hung, maxStuck)
		}
		if n, err := within("other", func() (int, error) { return 2, nil }); n != 2 || err != nil {
			t.Errorf("another file: %d, %v", n, err)
		}
		close(answer)
		synctest.Wait()
		if n, err := within("hung", hang); n != 1 || err != nil {
			t.Errorf("after the answer: %d, %v", n, err)
		}
		if len(stuck.names) != 0 {
			t.Errorf("still stuck: %v", stuck.names)
		}
	})
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
