package service

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"linesplit/admin"
)

// The one service of a process without names is replaced, too, and the API and the metrics are
// about the one that is there now.
func TestReloadOfListenersOfTheOnlyService(t *testing.T) {
	server, kept, gone, added := echoServer(t), freeAddress(t), freeAddress(t), freeAddress(t)
	text := func(at ...string) string {
		return fmt.Sprintf("mode = \"connection\"\nlisten = %q\ntarget = %q\nhealth = \"tcp\"\n", strings.Join(at, ","), server)
	}
	r := start(t, text(kept, gone))
	o := r.adminOptions()
	api := admin.New(o)
	old := r.dialAt(kept)
	old.say(t, "before")
	changed, needRestart := r.reload(text(added, kept) + "loops = 0\n")
	if !slices.Equal(changed, []string{"listen"}) || !slices.Equal(needRestart, []string{"loops"}) {
		t.Errorf("changed %q; a restart is needed for %q", changed, needRestart)
	}
	for _, at := range []string{added, kept} {
		e := r.dialAt(at)
		e.say(t, "hello")
		e.Close()
	}
	old.say(t, "still here")
	if names := o.Control.Status().Listeners; !slices.Equal(names, []string{"tcp://" + added, "tcp://" + kept}) {
		t.Errorf("listeners %q", names)
	}
	if err := o.Control.Drain(t.Context(), "tcp://"+server); err != nil {
		t.Error(err)
	}
	w := httptest.NewRecorder()
	api.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/metrics", nil))
	if body := w.Body.String(); !strings.Contains(body, "\nlinesplit_connections_accepted_total 2\n") ||
		!strings.Contains(body, "\nlinesplit_connect_seconds_count 2\n") {
		t.Error(body)
	}
	changed, needRestart = r.reload(strings.Replace(text(added, kept), "connection", "line", 1))
	if len(changed) > 0 || !slices.Contains(needRestart, "mode") || r.all()[0].draining.Load() {
		t.Errorf("changed %q; a restart is needed for %q", changed, needRestart)
	}
	if err := o.Control.Resume(t.Context(), "tcp://"+server); err != nil {
		t.Error(err)
	}
	old.Close()
	r.eventually("the old one has ended", func() bool { return len(r.all()) == 1 })
	r.end()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}
