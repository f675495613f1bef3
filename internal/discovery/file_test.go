package discovery

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fileRig is a file source with a file that tests replace.
type fileRig struct {
	*testing.T
	path string
	src  *fileSource
}

func newFileRig(t *testing.T, name string) fileRig {
	path := filepath.Join(t.TempDir(), name)
	return fileRig{t, path, &fileSource{spec: mustSpec(t, "file://"+path)}}
}

// put writes text to a path, with a time at which the file has settled.
func (r fileRig) put(path, text string) {
	r.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		r.Fatal(err)
	}
}

func (r fileRig) want(err string, want ...string) {
	r.Helper()
	a, got := ask(r.T, r.src)
	if (got == nil) != (err == "") || got != nil && !strings.Contains(got.Error(), err) {
		r.Errorf("%v, want %q", got, err)
	}
	if diff := cmp.Diff(want, written(a)); diff != "" {
		r.Error(diff)
	}
	if r.src.changed() {
		r.Error("changed since it was read")
	}
}

// A program writes the same list again and again. The file was never read, since it had always been
// replaced of late.
func TestFileReplacedAllTheTime(t *testing.T) {
	t.Parallel()
	r := newFileRig(t, "targets.json")
	end := make(chan struct{})
	var writing sync.WaitGroup
	write := func() {
		if err := os.WriteFile(r.path+".new", []byte(`[{"targets":["a:1"]}]`), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(r.path+".new", r.path); err != nil {
			t.Error(err)
		}
	}
	write()
	writing.Go(func() {
		for ticks := time.Tick(50 * time.Millisecond); ; {
			select {
			case <-ticks:
				write()
			case <-end:
				return
			}
		}
	})
	a, err := ask(t, r.src)
	close(end)
	writing.Wait()
	if diff := cmp.Diff([]string{"tcp://a:1"}, written(a)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

// Every way to replace a file is seen, and what stands there meanwhile is no answer.
func TestFileReplaced(t *testing.T) {
	r := newFileRig(t, "targets.json")
	r.want("no such file")
	r.put(r.path, `[{"targets":["a:1"]}]`)
	if !r.src.changed() {
		t.Error("a new file is no change")
	}
	r.want("", "tcp://a:1")
	other := r.path + ".new"
	r.put(other, `[{"targets":["a:1","b:1"]}]`)
	if err := os.Rename(other, r.path); err != nil {
		t.Fatal(err)
	}
	if !r.src.changed() {
		t.Error("another file is no change")
	}
	r.want("", "tcp://a:1", "tcp://b:1")
	r.put(r.path, `[{"targets":["a:1"`)
	r.want("not a JSON list")
	r.put(r.path, ``)
	r.want("empty text")
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.want("no such file")
	if err := os.Mkdir(r.path, 0o700); err != nil {
		t.Fatal(err)
	}
	r.want("a directory")
}

// Kubernetes swaps a link to a directory when a ConfigMap changes.
func TestFileBehindSwappedLink(t *testing.T) {
	r := newFileRig(t, "data/targets.yaml")
	dir := filepath.Dir(filepath.Dir(r.path))
	for _, v := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		r.put(filepath.Join(dir, v, "targets.yaml"), "- targets: [a"+v+":1]\n")
	}
	if err := os.Symlink("1", filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	r.want("", "tcp://a1:1")
	if err := os.Symlink("2", filepath.Join(dir, "next")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	if !r.src.changed() {
		t.Error("the other file is no change")
	}
	r.want("", "tcp://a2:1")
}

// Half of a YAML list is a list, too: the file is read when it has been left alone for a moment.
func TestFileThatIsBeingWritten(t *testing.T) {
	r := newFileRig(t, "targets.yaml")
	f, err := os.Create(r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("- targets: [a:1]\n"); err != nil {
		t.Fatal(err)
	}
	future := time.Now().Add(time.Hour) // as fresh as can be, whenever it is looked at
	if err := os.Chtimes(r.path, future, future); err != nil {
		t.Fatal(err)
	}
	type result struct {
		a   Answer
		err error
	}
	results := make(chan result, 1)
	go func() {
		a, err := r.src.lookup(t.Context())
		results <- result{a, err}
	}()
	time.Sleep(settleTime / 2)
	if _, err := f.WriteString("- targets: [b:1]\n"); err != nil {
		t.Fatal(err)
	}
	got := <-results
	if diff := cmp.Diff([]string{"tcp://a:1", "tcp://b:1"}, written(got.a)); diff != "" || got.err != nil {
		t.Errorf("%v %s", got.err, diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := os.Chtimes(r.path, future, future.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.src.lookup(ctx); err == nil {
		t.Error("the end of the context does not end the wait")
	}
}
