// Command lumbersink is a server for tests of targets with Lumberjack v2: the one of Elastic's
// go-lumber. It appends each event to a file, as a line of JSON, and acknowledges a window when its
// events are in the file. It ends with its standard input, or when it is killed.
//
//	lumbersink ADDRESS FILE
//
// Its first line of output is the address at which it listens.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	lumber "github.com/elastic/go-lumber/server/v2"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lumbersink:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: lumbersink ADDRESS FILE")
	}
	file, err := os.OpenFile(args[1], os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	// The last process may have been killed while it wrote a line, which it did not acknowledge.
	if _, err := file.WriteString("\n"); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	server, err := lumber.NewWithListener(ln)
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Close() // which also closes the channel below
	}()
	fmt.Println(ln.Addr())
	for batch := range server.ReceiveChan() {
		if err := write(file, batch.Events); err != nil {
			return err
		}
		batch.ACK()
	}
	return nil
}

// write writes events, each as a line.
func write(w io.Writer, events []any) error {
	var lines bytes.Buffer
	all := json.NewEncoder(&lines)
	for _, e := range events {
		if err := all.Encode(e); err != nil {
			return err
		}
	}
	_, err := w.Write(lines.Bytes())
	return err
}
