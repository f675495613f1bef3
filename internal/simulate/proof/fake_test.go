package proof

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// fake is a proxy for lines with one fault. Without a fault it forwards each connection's lines
// to one target and, when writing to that target fails, to another one. Then lines that the first
// target has not read are lost.
type fake struct {
	targets []string
	next    atomic.Uint64
	lines   atomic.Uint64 // forwarded
	read    atomic.Uint64 // lines that were read into a buffer
	fault   string
}

// Faults. Numbers in the comments count lines over all connections.
const (
	drops   = "drops"   // each 100th
	alters  = "alters"  // each 100th
	repeats = "repeats" // each 10th
	invents = "invents" // adds half a line after each 100th
	tears   = "tears"   // forwards the unfinished last line of a connection that is reset
	ends    = "ends"    // forwards the unfinished last line of a connection that is reset, and adds a newline
	buffers = "buffers" // accepts everything that senders send, and buffers it without limit
	dies    = "dies"    // exits after the 500th
	lingers = "lingers" // starts a child that outlives it
	fails   = "fails"   // exits with code 1 at SIGTERM
	honest  = "honest"  // buffers like buffers, and reports that nothing is confirmed
	boasts  = "boasts"  // buffers like buffers, and reports that everything is confirmed
)

// fakeProxy takes the listening address, the targets and a fault as arguments, and perhaps flags of
// linesplit, of which it knows -admin.
func fakeProxy(args []string) int {
	f := fake{targets: strings.Split(args[1], ",")}
	if len(args) > 2 {
		f.fault = args[2]
	}
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if i := slices.Index(args, "-admin"); i > 0 {
		go http.ListenAndServe(args[i+1], http.HandlerFunc(f.serveMetrics))
	}
	if f.fault == lingers {
		exec.Command("sleep", "300").Start()
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go f.accept(ln)
	<-stop
	if f.fault == fails {
		return 1
	}
	return 0
}

func (f *fake) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go f.serve(conn)
	}
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	var out net.Conn
	defer func() {
		if out != nil {
			out.Close()
		}
	}()
	in := bufio.NewReaderSize(conn, 64<<10)
	switch f.fault {
	case buffers, honest, boasts:
		in = bufio.NewReader(f.buffered(conn))
	}
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF && f.fault != tears && f.fault != ends {
			return
		}
		if f.fault == ends && err != nil && len(line) > 0 {
			line = append(line, '\n')
		}
		for len(line) > 0 && !f.forward(out, line) {
			if out != nil {
				out.Close()
			}
			if out, _ = net.Dial("tcp", f.targets[f.next.Add(1)%uint64(len(f.targets))]); out == nil {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if err != nil {
			return
		}
	}
}

// forward writes a line, with the fault that applies to it. It returns false if writing failed.
func (f *fake) forward(out net.Conn, line []byte) bool {
	if out == nil {
		return false
	}
	n := f.lines.Add(1)
	switch {
	case f.fault == drops && n%100 == 0:
		return true
	case f.fault == alters && n%100 == 0:
		line[rand.IntN(20)] ^= 1
	case f.fault == repeats && n%10 == 0:
		out.Write(line)
	case f.fault == invents && n%100 == 0:
		line = append(line, line[len(line)/2:]...)
	case f.fault == dies && n == 500:
		os.Exit(7)
	}
	_, err := out.Write(line)
	return err == nil
}

// serveMetrics reports that all lines that were read are in the spool, although there is none.
func (f *fake) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	forwarded, read, confirmed := f.lines.Load(), f.read.Load(), uint64(0)
	if f.fault == boasts {
		confirmed = read
	}
	fmt.Fprintf(w, "# TYPE %s counter\n%s %d\n", receivedLines, receivedLines, read)
	fmt.Fprintf(w, "%s{target=\"a\"} %d\n%s{target=\"a\"} %d\n", confirmedLines, confirmed, retainedLines,
		read-min(read, forwarded))
	fmt.Fprintf(w, "%s %d\n", writtenLines, read)
}

// buffered reads everything from conn at once, and returns a reader for it.
func (f *fake) buffered(conn net.Conn) io.Reader {
	r, w := io.Pipe()
	pieces := make(chan []byte, 1<<20)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 32<<10)
			n, err := conn.Read(b)
			f.read.Add(uint64(bytes.Count(b[:n], newline)))
			pieces <- b[:n]
			if err != nil {
				return
			}
		}
	}()
	go func() {
		defer w.Close()
		for b := range pieces {
			w.Write(b)
		}
	}()
	return r
}

// fakeTemplate returns a template that starts the fake with a fault.
func fakeTemplate(t *testing.T, fault string) Template {
	t.Helper()
	command := "{self} fake-proxy {listen} {targets} " + fault
	if fault == honest || fault == boasts {
		command += " {flags}"
	}
	tmpl, err := ParseTemplate(command, "", os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}
