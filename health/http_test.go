package health

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"linesplit/target"
)

// What is asked, in full, and that the server sees a clean end.
func TestHTTPRequest(t *testing.T) {
	asked := make(chan string, 1)
	a := server(t, target.SchemeTCP, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		request, err := http.ReadRequest(r)
		if err != nil {
			asked <- err.Error()
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 30000\r\n\r\n"+strings.Repeat("x", 30000))
		conn.(*net.TCPConn).CloseWrite()
		_, err = io.Copy(io.Discard, r)
		asked <- fmt.Sprint(request.Method, " ", request.RequestURI, " ", request.Proto, " ", request.Host, " ", request.Close, " ", err)
	})
	if err := mustCheck(t, Settings{Kind: "http", Path: "/up?deep=1"}).run(t.Context(), a, target.Options{}); err != nil {
		t.Error(err)
	}
	if got, want := <-asked, "GET /up?deep=1 HTTP/1.1 "+a.Host+" true <nil>"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func FuzzReadStatus(f *testing.F) {
	f.Add([]byte("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 101 Switching\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		status, err := readStatus(bufio.NewReader(strings.NewReader(string(b))), &http.Request{Method: http.MethodGet})
		if err == nil && status < 200 && status != http.StatusSwitchingProtocols {
			t.Fatalf("%d from %q", status, b)
		}
	})
}
