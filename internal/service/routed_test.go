package service

import (
	"testing"

	"linesplit/internal/config"
	"linesplit/internal/framing"
	"linesplit/listen"
)

// Services behind one TLS port all read lines that end in newlines, whatever their -listen said.
func TestServicesBehindOnePortHaveTheirFramings(t *testing.T) {
	spec, err := listen.Parse("tls://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	router, err := listen.OpenRouter(t.Context(), spec, &listen.Guard{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := router.Add(listen.Wanted{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	shared := &ports{all: map[string][]*listen.Router{config.AddressKey(first.String()): {router}}}
	for i, f := range []framing.Framing{framing.Octet, framing.Newline, framing.NUL} {
		spec, err := listen.Parse(first.String() + "?framing=" + f.String())
		if err != nil {
			t.Fatal(err)
		}
		in := &inbound{guard: &listen.Guard{}, ports: shared}
		if err := in.openRouted(t.Context(), spec, openOptions{wanted: listen.Wanted{Names: []string{string(rune('a' + i))}}}); err != nil {
			t.Fatal(err)
		}
		ln := in.listeners[0].(*listen.Routed)
		defer ln.Close()
		if ln.Framing() != f {
			t.Errorf("%s: %v, want %v", ln, ln.Framing(), f)
		}
		if again, err := listen.Parse(ln.String()); err != nil || again.Framing() != f {
			t.Errorf("its name is %s: %v", ln, err)
		}
	}
}
