package service

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/listen"
)

// ports are the TLS listeners that services share, told apart by server names. The zero value has
// none. Its methods are safe for concurrent use.
type ports struct {
	logger *slog.Logger // of what is not for one service; nil discards

	mu  sync.Mutex                  // guards the field below
	all map[string][]*listen.Router // by config.AddressKey; some may have ended
}

// get returns the Routers of an address, which open opens unless another service has done so. add
// takes part in each before the last of the others can leave.
func (p *ports) get(address string, open func() ([]*listen.Router, error), add func(*listen.Router) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	joined := 0
	for _, r := range p.all[address] {
		if add(r) == nil {
			joined++
		}
	}
	if joined > 0 {
		return nil
	}
	routers, err := open()
	if err != nil {
		return err
	}
	if p.all == nil {
		p.all = map[string][]*listen.Router{}
	}
	p.all[address] = routers
	for _, r := range routers {
		if err := add(r); err != nil {
			return err
		}
	}
	return nil
}

// openRouted opens a TLS listener whose clients are told apart by what they ask for, or takes part
// in that of another service. tlsConfig is nil if their TLS is passed through.
func (in *inbound) openRouted(ctx context.Context, spec listen.Spec, tlsConfig *tls.Config, wanted listen.Wanted) error {
	var secure func(net.Conn) net.Conn
	if tlsConfig != nil {
		secure = func(conn net.Conn) net.Conn { return tls.Server(in.guard.Handshakes.Watch(conn), tlsConfig) }
	}
	open := func() ([]*listen.Router, error) { return in.openRouters(ctx, spec) }
	add := func(r *listen.Router) error {
		l, err := r.Add(wanted, secure)
		if err == nil {
			l.Frame(spec.Framing())
			in.listeners = append(in.listeners, l)
		}
		return err
	}
	if config.ChoosesPort(spec) { // another one for each
		return new(ports).get("", open, add)
	}
	return in.ports.get(config.AddressKey(spec.String()), open, add)
}

func (in *inbound) openRouters(ctx context.Context, spec listen.Spec) ([]*listen.Router, error) {
	if spec.Inherited() {
		return in.inherited.OpenRouters(spec, in.guard, in.ports.logger)
	}
	if in.reuse {
		spec = spec.ReusePort()
	}
	r, err := listen.OpenRouter(ctx, spec, in.guard, in.ports.logger)
	if err != nil {
		return nil, err
	}
	return []*listen.Router{r}, nil
}

// routed returns the listeners whose clients are told apart.
func (in *inbound) routed() (all []*listen.Routed) {
	for _, ln := range in.listeners {
		if l, ok := ln.(*listen.Routed); ok {
			all = append(all, l)
		}
	}
	return all
}

// startRouting lets the clients of routed listeners in, once everything is open.
func (in *inbound) startRouting() {
	for _, l := range in.routed() {
		l.Router().Start()
	}
}

// admit changes who may connect, also to what is shared: there, all services have the same lists.
func (in *inbound) admit(lists listen.Lists) error {
	for _, l := range in.routed() {
		if err := l.Router().Guard().Set(lists); err != nil {
			return err
		}
	}
	return in.guard.Set(lists)
}

// want changes which clients routed listeners serve.
func (in *inbound) want(wanted listen.Wanted) {
	for _, l := range in.routed() {
		l.Want(wanted)
	}
}

// describeRouted adds what Routers and their guards have counted before the mode got the
// connections. What is not for one service is counted with the first of those that share.
func (in *inbound) describeRouted(t *admin.Totals, guard *listen.GuardStats) {
	var refused []admin.RefusedBy
	for _, l := range in.routed() {
		r := l.Router()
		if first := r.First(); first != nil && first != l {
			continue
		}
		if g := r.Guard(); g != in.guard {
			others := g.Stats()
			guard.Denied += others.Denied
			guard.ProxyErrors += others.ProxyErrors
			t.Probes += others.Probes
		}
		s := r.Stats()
		t.Probes += s.Probes
		t.AcceptErrors += s.AcceptErrors
		for i, one := range s.Refused {
			if i == len(refused) {
				refused = append(refused, admin.RefusedBy{Reason: one.Reason})
			}
			refused[i].Count += one.Count
		}
	}
	t.Refused = append(t.Refused, refused...)
}

// routedSpecs returns the listeners of a configuration that are shared by server names.
func routedSpecs(cfg config.Config) (all []listen.Spec) {
	for _, spec := range cfg.Listen {
		if spec.TLS() && cfg.Routes() {
			all = append(all, spec)
		}
	}
	return all
}

// pendingHellos returns the maximum number of connections that may wait at routed listeners, of
// services that may share them.
func pendingHellos(needs ...need) (n int) {
	distinct := map[string]bool{}
	for _, need := range needs {
		for _, spec := range need.routed {
			n += listen.MaxRouted
			distinct[config.AddressKey(spec.String())] = true
		}
	}
	return n + len(distinct)*listen.MaxPendingHellos
}
