//go:build linux

package procstat

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestUnreadBytesAreCounted(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	sender, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	receiver, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	if _, err := sender.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	awaitUnread(t, addr, 1000)
	if _, err := io.ReadFull(receiver, make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	awaitUnread(t, addr, 700)
	sender.Close()
	awaitUnread(t, addr, 701) // the end counts as a byte
	if _, err := io.Copy(io.Discard, receiver); err != nil {
		t.Fatal(err)
	}
	awaitUnread(t, addr, 0)
	if _, err := Unread("localhost"); err == nil {
		t.Error("no error for an address without a port")
	}
}

// awaitUnread waits until so many bytes are unread: those that move from one end to the other may
// count twice for a moment.
func awaitUnread(t *testing.T, addr string, want int64) {
	t.Helper()
	var got int64
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var err error
		if got, err = Unread(addr); err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
	}
	t.Errorf("%d bytes are unread, want %d", got, want)
}

func TestFileSystemsAreNamed(t *testing.T) {
	if kind, source, err := FileSystem("/proc"); err != nil || kind != "proc" || source == "" {
		t.Errorf("/proc is on %s (%s), %v", kind, source, err)
	}
	folder := t.TempDir()
	if kind, source, err := FileSystem(folder); err != nil || kind == "" || source == "" {
		t.Errorf("%s is on %q (%q), %v", folder, kind, source, err)
	}
	if free, err := Free(folder); err != nil || free <= 0 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
	if err := SyncFileSystem(folder); err != nil {
		t.Error(err)
	}
	for _, err := range []error{SyncFileSystem("/nowhere"), second(Free("/nowhere"))} {
		if err == nil {
			t.Error("no error for a folder that does not exist")
		}
	}
}

func second[T any](_ T, err error) error { return err }
