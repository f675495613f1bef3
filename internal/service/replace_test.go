package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/admin"
)

// A change of listeners needed a restart. The address that stays is never closed: its service is
// replaced, and the other one is not touched.
func TestReloadOfListeners(t *testing.T) {
	server, kept, gone, added := echoServer(t), freeAddress(t), freeAddress(t), freeAddress(t)
	other := webService("other", anyPort, server)
	r := start(t, listening("web", server, kept, gone)+other)
	was, untouched := r.find("web"), r.find("other")
	open := r.dial("other")
	open.say(t, "before")
	old := r.dial("web")
	old.say(t, "to the old one")

	changed, needRestart := r.reload(listening("web", server, added, kept) + other)
	if want := []string{"web.listen", "web (replaced)"}; !slices.Equal(changed, want) || len(needRestart) > 0 {
		t.Errorf("changed %q, want %q; a restart is needed for %q", changed, want, needRestart)
	}
	if !slices.Equal(r.names(), []string{"web", "other", "web~1"}) || r.find("web~1") != was || r.find("other") != untouched {
		t.Errorf("services %q", r.names())
	}
	for _, at := range []string{added, kept} {
		e := r.dialAt(at)
		e.say(t, "to the new one")
		e.Close()
	}
	r.eventually("the removed listener is closed", func() bool {
		c, err := net.Dial("tcp", gone)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	old.say(t, "the old one drains")
	open.say(t, "after")
	old.Close()
	r.eventually("the old one has ended", func() bool { return r.find("web~1") == nil })
	r.dialAt(kept).say(t, "and its socket is open still")
	if log := r.log.String(); !strings.Contains(log, `msg="drain began" service=web cause="service replaced"`) {
		t.Error(log)
	}
}

func (r *running) dialAt(address string) echo {
	r.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		r.Fatalf("%v\n%s", err, r.log)
	}
	r.Cleanup(func() { c.Close() })
	return newEcho(c)
}

// listening is a service that forwards connections from several addresses.
func listening(name, target string, at ...string) string {
	return fmt.Sprintf("[service.%s]\nmode = \"connection\"\nlisten = %q\ntarget = %q\n", name, "tcp://"+strings.Join(at, ",tcp://"), target)
}

// The other mode needed a restart, too. The lines that a replaced service has are delivered.
func TestReloadOfTheMode(t *testing.T) {
	at, sink := freeAddress(t), discard(t)
	r := start(t, lineService("a", at, sink))
	if err := sendLine(at); err != nil {
		t.Fatal(err)
	}
	changed, _ := r.reload(webService("a", at, echoServer(t)))
	if !slices.Contains(changed, "a.mode") || !slices.Contains(changed, "a (replaced)") {
		t.Errorf("changed %q", changed)
	}
	r.dialAt(at).say(t, "hello")
	r.eventually("the account of the old one is in the log", func() bool {
		return strings.Contains(r.log.String(), `msg="drain ended" service=a received_lines=1 confirmed_lines=1`)
	})
	if mode := r.find("a").Status().Mode; mode != admin.ModeConnection {
		t.Error(mode)
	}
}

// If the new service cannot start, the old one goes on, and nothing of the reload is done.
func TestReloadWithAReplacementThatCannotStart(t *testing.T) {
	server, at, taken := echoServer(t), freeAddress(t), discard(t)
	for _, partial := range []bool{false, true} {
		t.Run(fmt.Sprintf("partial=%v", partial), func(t *testing.T) {
			r := start(t, webService("web", at, server)+webService("other", anyPort, server), fmt.Sprintf("-start-partial=%v", partial))
			was := r.find("web")
			open := r.dial("web")
			open.say(t, "before")
			r.write(listening("web", server, at, taken) + webService("other", anyPort, server) + "dial-timeout = \"7s\"\n")
			changed, _, err := r.Reload(t.Context())
			if !errors.Is(err, admin.ErrInvalid) || !strings.Contains(err.Error(), "service web: ") ||
				!strings.Contains(err.Error(), "listen on tcp://"+taken) || isPartial(err) != partial {
				t.Errorf("%v", err)
			}
			if slices.Contains(changed, "other.dial-timeout") != partial || slices.Contains(changed, "web.listen") {
				t.Errorf("changed %q", changed)
			}
			if r.find("web") != was || len(r.names()) != 2 || was.draining.Load() {
				t.Errorf("services %q", r.names())
			}
			open.say(t, "after")
			for range 20 { // the socket has one reader again
				e := r.dialAt(at)
				e.say(t, "again")
				e.Close()
			}
			open.Close()
			r.end()
			r.wait()
		})
	}
}

// Two services that swapped their addresses failed both: each found the other's taken.
func TestServicesSwapAddresses(t *testing.T) {
	server, sink, one, two := echoServer(t), discard(t), freeAddress(t), freeAddress(t)
	r := start(t, webService("web", one, server)+lineService("lines", two, sink))
	r.reload(webService("web", two, server) + lineService("lines", one, sink))
	r.dialAt(two).say(t, "hello")
	if err := sendLine(one); err != nil {
		t.Fatal(err)
	}
	r.eventually("the line is confirmed", func() bool { return r.find("lines").Status().Ledger.Confirmed.Lines == 1 })
}

// The address listens all the time: no connection is refused, while its service is replaced and
// renamed again and again.
func TestNoConnectionIsRefused(t *testing.T) {
	server, at, path := echoServer(t), freeAddress(t), filepath.Join(t.TempDir(), "s")
	text := func(i int) string {
		return fmt.Sprintf("[service.web%d]\nmode = \"connection\"\nlisten = [\"tcp://%s\", \"unix://%s\"]\ntarget = %q\n"+
			"udp-idle-timeout = \"%ds\"\naccess-log = %q\n", i/2%2, at, path, server, i+1, []string{"off", "text"}[i%2])
	}
	r := start(t, text(0))
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop()
	for _, network := range []string{"tcp", "unix"} {
		clients.Go(func() {
			address := map[string]string{"tcp": at, "unix": path}[network]
			for ctx.Err() == nil {
				c, err := net.Dial(network, address)
				if err != nil {
					t.Error(err)
					return
				}
				e := newEcho(c)
				fmt.Fprintln(e, "hello")
				if got, err := e.in.ReadString('\n'); err != nil {
					t.Errorf("%q, %v", got, err)
				}
				c.Close()
			}
		})
	}
	for i := range 40 {
		r.reload(text(i + 1))
	}
	stop()
	clients.Wait()
	r.eventually("the replaced ones have ended", func() bool { return len(r.names()) == 1 })
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	r.end()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file is left: %v", err)
	}
}

// The datagrams of clients went to the old service, too, which drained and dropped those of new
// clients.
func TestReplacedServiceLeavesDatagrams(t *testing.T) {
	target, err := net.ListenPacket("udp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := target.ReadFrom(b)
			if err != nil {
				return
			}
			target.WriteTo(b[:n], from)
		}
	}()
	at := freeAddress(t)
	text := fmt.Sprintf("[service.dns]\nmode = \"connection\"\nlisten = \"udp://%s\"\ntarget = \"udp://%s\"\n", at, target.LocalAddr())
	r := start(t, text)
	ask := func(c net.Conn) {
		t.Helper()
		c.SetDeadline(time.Now().Add(time.Minute))
		c.Write([]byte("hello"))
		if n, err := c.Read(make([]byte, 100)); n != 5 || err != nil {
			t.Fatalf("%d bytes, %v\n%s", n, err, r.log)
		}
	}
	client := func() net.Conn {
		c, err := net.Dial("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	before := client()
	ask(before)
	for i := range 3 {
		r.reload(text + fmt.Sprintf("access-log = %q\n", []string{"text", "json"}[i%2]))
		for range 5 {
			ask(before)
			ask(client())
		}
	}
	if len(r.names()) < 2 {
		t.Error("the old one has ended at once, though it had a session")
	}
	for _, s := range r.all() {
		for _, refused := range s.Status().Totals.Refused {
			if refused.Count > 0 {
				t.Errorf("%s: %+v", s.title(), refused)
			}
		}
	}
}
