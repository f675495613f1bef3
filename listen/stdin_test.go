package listen

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"linesplit/internal/accept"
)

func TestStdinHasOneConnection(t *testing.T) {
	ln := Stdin(strings.NewReader("a\nb\n"))
	if accept.Name(ln) != "stdin:" || ln.Addr().String() != "stdin:" {
		t.Errorf("name %s, address %v", accept.Name(ln), ln.Addr())
	}
	conn, err := ln.Accept()
	must(t, err)
	for range 2 {
		if _, err := ln.Accept(); err != io.EOF {
			t.Errorf("second Accept: %v, want io.EOF", err)
		}
	}
	must(t, ln.Close())
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
	}
	if data, err := io.ReadAll(conn); string(data) != "a\nb\n" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read after the end: %d, %v", n, err)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("Write works")
	}
	must(t, conn.(interface{ CloseWrite() error }).CloseWrite())
	must(t, conn.Close())
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v, want net.ErrClosed", err)
	}
	if err := conn.SetReadDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline after Close: %v, want net.ErrClosed", err)
	}
	if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v, want net.ErrClosed", err)
	}
}

func TestStdinOpens(t *testing.T) {
	ln := mustOpen(t, "stdin:")
	conn, err := ln.Accept()
	must(t, err)
	must(t, conn.Close())
	must(t, ln.Close())
}

// For all kinds of readers, the bytes and then the error come through.
func TestStdinKeepsDataAndError(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcde\n"), 3*readSize/16)
	broken := errors.New("input/output error")
	readers := map[string]struct {
		in   io.Reader
		want error
	}{
		"plain":            {bytes.NewReader(data), nil},
		"one byte":         {iotest.OneByteReader(bytes.NewReader(data)), nil},
		"half":             {iotest.HalfReader(bytes.NewReader(data)), nil},
		"data with EOF":    {iotest.DataErrReader(bytes.NewReader(data)), nil},
		"error":            {io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)), broken},
		"empty reads":      {&stutter{in: bytes.NewReader(data)}, nil},
		"error after data": {iotest.DataErrReader(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken))), broken},
	}
	for name, tt := range readers {
		for _, size := range []int{1000, readSize - 1, readSize, 2 * readSize} {
			if name == "one byte" && size != 1000 {
				continue
			}
			got, err := readAll(acceptFrom(t, tt.in), size)
			if !bytes.Equal(got, data) || !errors.Is(err, tt.want) {
				t.Errorf("%s, reads of %d: %d bytes, %v; want %d, %v", name, size, len(got), err, len(data), tt.want)
			}
			if seeker, ok := tt.in.(io.Seeker); ok {
				seeker.Seek(0, io.SeekStart)
			} else {
				break
			}
		}
	}
}

// A deadline ends a waiting Read, and data that arrives after it is kept for the next.
func TestStdinKeepsDataAfterDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		conn := acceptFrom(t, r)
		buf := make([]byte, 100)

		start := time.Now()
		must(t, conn.SetReadDeadline(start.Add(time.Second)))
		if n, err := conn.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("read %d, %v after %v", n, err, time.Since(start))
		}
		if _, err := w.Write([]byte("late")); err != nil { // the Read that timed out had started this read
			t.Fatal(err)
		}
		synctest.Wait()
		if n, err := conn.Read(buf[:1]); string(buf[:n]) != "l" || err != nil {
			t.Errorf("read %q, %v, want the data already taken from the input", buf[:n], err)
		}
		if n, err := conn.Read(buf); string(buf[:n]) != "ate" || err != nil {
			t.Errorf("read %q, %v, want the rest of it", buf[:n], err)
		}
		if n, err := conn.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d, %v, want os.ErrDeadlineExceeded", n, err)
		}

		must(t, conn.SetReadDeadline(time.Time{}))
		go w.Write([]byte("more"))
		if n, err := conn.Read(buf); string(buf[:n]) != "more" || err != nil {
			t.Errorf("read %q, %v", buf[:n], err)
		}
		must(t, conn.Close())
	})
}

// Data taken from the input is not lost to a past deadline.
func TestStdinReturnsDataAfterPastDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // a select with two ready cases would choose the wrong one every other time
			r, w := io.Pipe()
			conn := acceptFrom(t, r)
			must(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
			buf := make([]byte, 100)
			if _, err := conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			w.Write([]byte("late"))
			synctest.Wait()
			if n, err := conn.Read(buf); string(buf[:n]) != "late" || err != nil {
				t.Errorf("read %q, %v", buf[:n], err)
			}
		}
	})
}

// A waiting Read follows a deadline that is set while it waits.
func TestStdinDeadlineCanMove(t *testing.T) {
	tests := map[string]struct {
		first, second time.Duration // after the start; set at once, and after a second
		want          time.Duration
	}{
		"none, then one":      {0, 3 * time.Second, 3 * time.Second},
		"later":               {2 * time.Second, 5 * time.Second, 5 * time.Second},
		"sooner":              {5 * time.Second, 2 * time.Second, 2 * time.Second},
		"now":                 {5 * time.Second, time.Second, time.Second},
		"long ago":            {0, -time.Hour, time.Second},
		"passed, nothing new": {time.Second / 2, 9 * time.Second, time.Second / 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := io.Pipe()
				defer w.Close()
				conn := acceptFrom(t, r)
				start := time.Now()
				if tt.first != 0 {
					must(t, conn.SetReadDeadline(start.Add(tt.first)))
				}
				time.AfterFunc(time.Second, func() { conn.SetDeadline(start.Add(tt.second)) })
				_, err := conn.Read(make([]byte, 1))
				if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != tt.want {
					t.Errorf("%v after %v, want the deadline after %v", err, took, tt.want)
				}
				time.Sleep(10 * time.Second)
			})
		})
	}
}

func TestStdinCloseEndsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		conn := acceptFrom(t, r)
		time.AfterFunc(time.Second, func() { conn.Close() })
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("read %d, %v, want net.ErrClosed", n, err)
		}
		w.Close() // ends the read in progress
	})
}

// Nothing is taken from the input without a Read.
func TestStdinReadsOnDemand(t *testing.T) {
	in := bytes.NewReader(make([]byte, 3*readSize))
	conn := acceptFrom(t, in)
	if in.Len() != 3*readSize {
		t.Error("read before the first Read")
	}
	buf := make([]byte, readSize/2)
	for range 2 {
		if _, err := conn.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	must(t, conn.SetReadDeadline(time.Unix(1, 0)))
	if _, err := conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if in.Len() != 2*readSize {
		t.Errorf("%d bytes taken, want %d", 3*readSize-in.Len(), readSize)
	}
}

// Standard input from a shell is a pipe, which cannot be polled here, as os.Stdin often cannot.
func TestStdinFromABlockingPipe(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	r.Fd() // puts it into blocking mode, without deadlines of its own
	conn := acceptFrom(t, r)
	want := bytes.Repeat([]byte("a line of text\n"), 50_000)
	go func() {
		defer w.Close()
		for rest := want; len(rest) > 0; rest = rest[min(len(rest), 7777):] {
			w.Write(rest[:min(len(rest), 7777)])
		}
	}()
	var got []byte
	buf := make([]byte, 16<<10)
	for {
		must(t, conn.SetReadDeadline(time.Now().Add(100*time.Microsecond)))
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, want %d, and the same", len(got), len(want))
	}
}

func acceptFrom(t *testing.T, in io.Reader) net.Conn {
	t.Helper()
	conn, err := Stdin(in).Accept()
	must(t, err)
	return conn
}

func readAll(r io.Reader, size int) (data []byte, err error) {
	buf := make([]byte, size)
	for {
		n, err := r.Read(buf)
		data = append(data, buf[:n]...)
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return data, err
		}
	}
}

// stutter returns nothing and no error on every second Read.
type stutter struct {
	in  io.Reader
	odd bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.odd = !s.odd; s.odd {
		return 0, nil
	}
	return s.in.Read(p)
}
