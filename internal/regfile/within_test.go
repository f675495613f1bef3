package regfile

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// hung is a disk that does not answer until it is told to.
type hung struct {
	*testing.T
	answer chan struct{}
}

// look waits for a file's state, and returns how long it took.
func (h hung) look(name string) (time.Duration, error) {
	began := time.Now()
	_, err := within(name, func(func(fs.FileInfo) error) (int, error) { <-h.answer; return 1, nil })
	return time.Since(began), err
}

// read learns a file's state at once and then waits for its content.
func (h hung) read(name string) (time.Duration, error) {
	began := time.Now()
	_, err := within(name, func(begin func(fs.FileInfo) error) (int, error) {
		info, err := os.Stat(name)
		if err == nil {
			err = begin(info)
		}
		if err != nil {
			return 0, err
		}
		<-h.answer
		return 1, nil
	})
	return time.Since(began), err
}

// end lets the disk answer, and checks that nothing is left.
func (h hung) end() {
	close(h.answer)
	synctest.Wait()
	if len(stuck.names) != 0 {
		h.Errorf("still stuck: %v", stuck.names)
	}
}

// A disk that does not answer holds up a reader for a limited time, and later readers hardly at
// all. Once it answers, all is well.
func TestDiskThatDoesNotAnswer(t *testing.T) {
	for name, try := range map[string]func(hung, string) (time.Duration, error){
		"its files' states": hung.look, "a file's content": hung.read,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				name := file(t, "1")
				h := hung{t, make(chan struct{})}
				if took, err := try(h, name); took != readTimeout || !errors.Is(err, errNoAnswer) {
					t.Errorf("the first call took %v: %v", took, err)
				}
				if took, err := try(h, name); took != 0 || !errors.Is(err, errNoAnswer) {
					t.Errorf("the next call took %v: %v", took, err)
				}
				time.Sleep(readTimeout)
				if took, err := try(h, name); took != readTimeout || !errors.Is(err, errNoAnswer) {
					t.Errorf("the call after some seconds took %v: %v", took, err)
				}
				waiting := 2
				for range 2 * maxStuck {
					time.Sleep(maxWait)
					if took, _ := try(h, name); took > 0 {
						waiting++
					}
				}
				if waiting != maxStuck {
					t.Errorf("%d calls wait, want %d", waiting, maxStuck)
				}
				if data, _, err := Read(file(t, "2"), 1); string(data) != "2" || err != nil {
					t.Errorf("another file: %q, %v", data, err)
				}
				h.end()
				if data, _, err := Read(name, 1); string(data) != "1" || err != nil {
					t.Errorf("after the answer: %q, %v", data, err)
				}
			})
		})
	}
}

// A file that did not answer was not read for a minute, also when another one had taken its place.
func TestFileInPlaceOfOneThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hung{t, make(chan struct{})}
		name, other := file(t, "1"), file(t, "2")
		h.read(name)
		if _, _, err := Read(name, 1); !errors.Is(err, errNoAnswer) {
			t.Errorf("the same file: %v", err)
		}
		if info, err := os.Stat(name); err != nil || !sameFile(states([]string{name})[0], info) {
			t.Errorf("its state is not known: %v", err)
		}
		if err := os.Rename(other, name); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if data, _, err := Read(name, 1); string(data) != "2" || err != nil || time.Since(began) > 0 {
			t.Errorf("the new file after %v: %q, %v", time.Since(began), data, err)
		}
		// One file after the other that does not answer is not read without end either.
		for range 2 * maxStuck {
			if err := os.Rename(file(t, "3"), name); err != nil {
				t.Fatal(err)
			}
			h.read(name)
		}
		if n := stuck.names[name].n; n != maxStuck {
			t.Errorf("%d calls wait, want %d", n, maxStuck)
		}
		h.end()
	})
}

// While one of several calls that wait has returned, others are tried at once.
func TestDiskThatAnswersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := hung{t, make(chan struct{})}, hung{t, make(chan struct{})}
		name := file(t, "1")
		first.read(name)
		time.Sleep(readTimeout)
		second.read(name)
		if _, _, err := Read(name, 1); !errors.Is(err, errNoAnswer) {
			t.Errorf("while both wait: %v", err)
		}
		close(first.answer)
		synctest.Wait()
		if _, _, err := Read(name, 1); err != nil {
			t.Errorf("while one waits: %v", err)
		}
		second.end()
	})
}
