package simulate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"linesplit/linebuf"
)

// fakePipeline is the simplest pipeline that loses nothing: it keeps everything that it has sent
// on a connection, and resends all of it elsewhere when the connection fails. The fields set its
// faults.
type fakePipeline struct {
	loseEvery   int    // drops each n-th line
	tearEvery   int    // puts a newline in the middle of each n-th line
	repeatEvery int    // sends each n-th line twice without reporting it
	misreport   uint64 // lines that the ledger reports in excess
	fail        error  // returned at once

	mu     sync.Mutex // guards the fields below
	ledger Ledger
	count  int
}

func (f *fakePipeline) run(ctx context.Context, targets []string, running func(Running)) (Ledger, error) {
	if f.fail != nil {
		return Ledger{}, f.fail
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Ledger{}, err
	}
	lines := make(chan []byte, 64)
	var readers, workers sync.WaitGroup
	for i := range targets {
		workers.Go(func() { f.work(lines, targets, i) })
	}
	readers.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			readers.Go(func() { f.read(c, lines) })
		}
	})
	running(Running{Addr: ln.Addr().String(), Ledger: f.snapshot})
	<-ctx.Done()
	ln.Close()
	readers.Wait()
	close(lines)
	workers.Wait()
	f.ledger.Received.Lines += f.misreport
	f.ledger.Confirmed.Lines += f.misreport
	return f.ledger, nil
}

func (f *fakePipeline) snapshot() Ledger {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ledger
}

func (f *fakePipeline) read(c net.Conn, lines chan<- []byte) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		if line = f.applyFault(line); line != nil {
			lines <- line
		}
	}
}

// applyFault counts a line, and applies the fault that is due to it.
func (f *fakePipeline) applyFault(line []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := linebuf.Count{Lines: 1, Bytes: uint64(len(line))}
	f.ledger.Received.Add(size)
	f.ledger.Confirmed.Add(size)
	f.count++
	every := func(n int) bool { return n > 0 && f.count%n == 0 }
	switch {
	case every(f.loseEvery):
		return nil
	case every(f.tearEvery):
		return append(append(bytes.Clone(line[:40]), '\n'), line[40:]...)
	case every(f.repeatEvery):
		return append(bytes.Clone(line), line...)
	}
	return line
}

func (f *fakePipeline) work(lines <-chan []byte, targets []string, home int) {
	var kept [][]byte
	conn := dialAny(targets, home)
	defer func() { conn.Close() }()
	gone := watchEnd(conn)
	resend := func() {
		home++
		conn.Close()
		conn = dialAny(targets, home)
		gone = watchEnd(conn)
		f.mu.Lock()
		for _, line := range kept {
			f.ledger.Resent.Add(linebuf.Count{Lines: 1, Bytes: uint64(len(line))})
		}
		f.mu.Unlock()
		conn.Write(bytes.Join(kept, nil))
	}
	for {
		select {
		case <-gone:
			resend()
		case line, ok := <-lines:
			if !ok {
				conn.(*net.TCPConn).CloseWrite()
				<-gone
				return
			}
			kept = append(kept, line)
			if _, err := conn.Write(line); err != nil {
				resend()
			}
		}
	}
}

func watchEnd(conn net.Conn) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		io.Copy(io.Discard, conn)
	}()
	return gone
}

func dialAny(targets []string, first int) net.Conn {
	for i := first; ; i++ {
		if conn, err := net.Dial("tcp", targets[i%len(targets)]); err == nil {
			return conn
		}
		time.Sleep(time.Millisecond)
	}
}

var errFake = errors.New("port 9000 is taken")
