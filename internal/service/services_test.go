package service

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/admin"
)

func TestTwoServices(t *testing.T) {
	r := start(t, lineService("lines", anyPort, discard(t))+webService("web", anyPort, echoServer(t)))
	web := r.dial("web")
	web.say(t, "hello")
	web.Close()
	if err := sendLine(r.address("lines")); err != nil {
		t.Fatal(err)
	}
	r.eventually("the line is confirmed", func() bool { return r.find("lines").Status().Ledger.Confirmed.Lines == 1 })
	r.eventually("it is ready", func() bool { ok, _ := r.ready(); return ok })
	r.end()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`msg="drain ended" service=lines received_lines=1 confirmed_lines=1`, `msg="drain ended" service=web connections=1`} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("no %s in\n%s", want, r.log)
		}
	}
}

// Services come, change and go while a connection of another one stays open.
func TestReloadOfTheSetOfServices(t *testing.T) {
	sink, server := discard(t), echoServer(t)
	web := webService("web", anyPort, server)
	r := start(t, web+lineService("old", anyPort, sink))
	kept := r.dial("web")
	kept.say(t, "before")
	was := r.find("web")
	if err := sendLine(r.address("old")); err != nil {
		t.Fatal(err)
	}
	changed, needRestart := r.reload(lineService("new", anyPort, sink) + web + "dial-timeout = \"7s\"\n")
	if want := []string{"web.dial-timeout", "old (removed)", "new (added)"}; !slices.Equal(changed, want) || len(needRestart) > 0 {
		t.Errorf("changed %q, want %q; a restart is needed for %q", changed, want, needRestart)
	}
	r.eventually("the removed service has ended", func() bool { return r.find("old") == nil })
	r.eventually("its account is in the log", func() bool {
		return strings.Contains(r.log.String(), `msg="drain ended" service=old received_lines=1 confirmed_lines=1`)
	})
	if err := sendLine(r.address("new")); err != nil {
		t.Fatal(err)
	}
	r.eventually("the line is confirmed", func() bool { return r.find("new").Status().Ledger.Confirmed.Lines == 1 })
	kept.say(t, "after")
	if r.find("web") != was || !slices.Equal(r.names(), []string{"new", "web"}) {
		t.Errorf("services %q", r.names())
	}
	if changed, _ := r.reload(lineService("new", anyPort, sink) + web + "dial-timeout = \"7s\"\n"); len(changed) > 0 {
		t.Errorf("a second reload changes %q", changed)
	}
	kept.Close()
	r.end()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

// A service that gets another name listens where it did before.
func TestRenamedService(t *testing.T) {
	server, at := echoServer(t), freeAddress(t)
	r := start(t, webService("a", at, server)+webService("other", anyPort, server))
	r.dial("a").say(t, "one")
	changed, _ := r.reload(webService("b", at, server) + webService("other", anyPort, server))
	if want := []string{"a (removed)", "b (added)"}; !slices.Equal(changed, want) {
		t.Errorf("changed %q", changed)
	}
	r.dial("b").say(t, "two")
}

// A service that cannot listen stops a reload before anything has changed.
func TestReloadWithAServiceThatCannotStart(t *testing.T) {
	server, taken := echoServer(t), discard(t)
	before := webService("a", anyPort, server)
	r := start(t, before)
	r.write(before + "dial-timeout = \"7s\"\n" + webService("b", taken, server))
	_, _, err := r.Reload(t.Context())
	if !errors.Is(err, admin.ErrInvalid) || !strings.Contains(err.Error(), "service b: ") || !slices.Equal(r.names(), []string{"a"}) {
		t.Errorf("%v, services %q", err, r.names())
	}
	if changed, _ := r.reload(before + "dial-timeout = \"7s\"\n"); !slices.Equal(changed, []string{"a.dial-timeout"}) {
		t.Errorf("changed %q: the failed reload has changed something", changed)
	}
	r.dial("a").say(t, "hello")
}

func TestServiceThatCannotStart(t *testing.T) {
	server, taken := echoServer(t), discard(t)
	r := prepare(t, webService("a", anyPort, server)+webService("b", taken, server))
	err := r.run(t.Context(), func(Running) { t.Error("started") })
	r.logger.close()
	if err == nil || !strings.HasPrefix(err.Error(), "service b: ") || !strings.Contains(err.Error(), "address already in use") {
		t.Error(err)
	}
}

// With -start-partial the others start, and a reload tries the failed one again.
func TestStartPartial(t *testing.T) {
	server, at := echoServer(t), ""
	taken, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	at = taken.Addr().String()
	text := webService("a", anyPort, server) + webService("b", at, server)
	r := start(t, text, "-start-partial")
	r.dial("a").say(t, "hello")
	s := r.find("b")
	if status := s.Status(); status.Ready || !strings.Contains(status.Reason, "could not be started: ") {
		t.Errorf("%+v", status)
	}
	if ok, why := r.ready(); ok || !strings.HasPrefix(why, "service b: it could not be started") {
		t.Errorf("ready: %v, %s", ok, why)
	}
	if err := s.Add(t.Context(), "127.0.0.1:1"); !errors.Is(err, admin.ErrNotRunning) {
		t.Error(err)
	}
	r.write(text)
	if _, _, err := r.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "all else has changed: service b: ") {
		t.Error(err)
	}
	taken.Close()
	if changed, _ := r.reload(text); !slices.Equal(changed, []string{"b (added)"}) {
		t.Errorf("changed %q", changed)
	}
	r.dial("b").say(t, "hello")
}

// If no service can start, the process does not either.
func TestStartPartialOfNothing(t *testing.T) {
	taken := discard(t)
	r := prepare(t, webService("a", taken, echoServer(t)), "-start-partial")
	defer r.logger.close()
	if err := r.run(t.Context(), func(Running) { t.Error("started") }); err == nil || !strings.HasPrefix(err.Error(), "service a: ") {
		t.Error(err)
	}
}

// A service whose target was down took all memory, and senders of the others had to wait.
func TestServicesLeaveMemoryToOthers(t *testing.T) {
	text := "memory = \"8MiB\"\nmax-line = \"64KiB\"\nqueue = 65536\ndrain-timeout = \"100ms\"\n" + lineService("stuck", anyPort, freeAddress(t)) + lineService("lines", anyPort, discard(t))
	r := start(t, text)
	c, err := net.Dial("tcp", r.address("stuck"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(time.Minute))
	stuck := r.find("stuck")
	go func() {
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 16 << 10 { // until nothing more is taken
			if _, err := c.Write(line); err != nil {
				return
			}
		}
	}()
	r.eventually("its memory is full", func() bool {
		l := stuck.Status().Limits
		return l.MemoryBytes > l.MemoryLimit*3/4
	})
	if err := sendLine(r.address("lines")); err != nil {
		t.Fatal(err)
	}
	r.eventually("the line of the other is confirmed", func() bool { return r.find("lines").Status().Ledger.Confirmed.Lines == 1 })
}

// The drain of a removed service has its own limit.
func TestRemovedServiceIsCutOff(t *testing.T) {
	server := echoServer(t)
	other := webService("other", anyPort, server)
	r := start(t, webService("web", anyPort, server)+"drain-timeout = \"50ms\"\n"+other)
	open := r.dial("web")
	open.say(t, "hello")
	r.reload(other)
	if _, err := open.in.ReadByte(); err == nil {
		t.Error("not cut off")
	}
	r.eventually("the removed service has ended", func() bool { return r.find("web") == nil })
	r.end()
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "service web: connections that had not ended") {
		t.Error(err)
	}
}

// While a removed service drained, no other could have its name, and a reload was refused.
func TestNameOfADrainingService(t *testing.T) {
	server := echoServer(t)
	web, other := webService("web", anyPort, server), webService("other", anyPort, server)
	r := start(t, web+other)
	open := r.dial("web")
	open.say(t, "hello")
	r.reload(other)
	was := r.find("web")
	if !was.Status().Draining || !slices.Equal(r.names(), []string{"other", "web"}) {
		t.Errorf("services %q", r.names())
	}
	changed, _ := r.reload(web + other + "dial-timeout = \"7s\"\n")
	if want := []string{"other.dial-timeout", "web (added)"}; !slices.Equal(changed, want) {
		t.Errorf("changed %q, want %q", changed, want)
	}
	if !slices.Equal(r.names(), []string{"web", "other", "web~1"}) || r.find("web~1") != was {
		t.Errorf("services %q", r.names())
	}
	open.say(t, "still here")
	r.dial("web").say(t, "hello again")
	if ok, why := r.ready(); !ok {
		t.Errorf("a service that leaves makes the process not ready: %s", why)
	}
	open.Close()
	r.eventually("the removed service has ended", func() bool { return r.find("web~1") == nil })
	r.dial("web").say(t, "hello again")
}

// What only the process can change at its start is named, and stays as it was.
func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	server := echoServer(t)
	r := start(t, webService("a", anyPort, server)+webService("b", anyPort, server))
	was := r.find("a")
	text := "memory = \"64MiB\"\nlog-level = \"debug\"\nreuse-port = true\n" +
		webService("a", anyPort, server) + webService("b", anyPort, server)
	changed, needRestart := r.reload(text)
	if want := []string{"memory", "a.reuse-port", "b.reuse-port"}; !slices.Equal(needRestart, want) || !slices.Equal(changed, []string{"log-level"}) {
		t.Errorf("changed %q; a restart is needed for %q, want %q", changed, needRestart, want)
	}
	if r.find("a") != was || !was.logger.Enabled(r.Context(), -4) {
		t.Error("the service has changed, or the log level has not")
	}
	if again, still := r.reload(text); len(again) > 0 || len(still) != 3 {
		t.Errorf("a second reload changes %q, and needs a restart for %q", again, still)
	}
}

// A reload after which no service works does not end the process: the next reload may mend it.
func TestNothingWorksAfterAReload(t *testing.T) {
	server, taken := echoServer(t), discard(t)
	r := start(t, webService("a", anyPort, server), "-start-partial")
	r.write(webService("b", taken, server))
	if _, _, err := r.Reload(r.Context()); err == nil || !strings.Contains(err.Error(), "service b: ") {
		t.Error(err)
	}
	r.eventually("the removed service has ended", func() bool { return r.find("a") == nil })
	r.reload(webService("b", anyPort, server))
	r.dial("b").say(t, "hello")
}
