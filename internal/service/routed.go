package service

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
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
// takes part in each before the last of the others can leave. proxies tells whether the Routers
// have to read PROXY headers: those that do not, or do and need not, are left to the services that
// have them.
func (p *ports) get(address string, proxies bool, open func() ([]*listen.Router, error), add func(*listen.Router) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetClosedLocked()
	joined := 0
	for _, r := range p.all[address] {
		if r.HasProxies() == proxies && add(r) == nil {
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
	p.all[address] = append(p.all[address], routers...)
	for _, r := range routers {
		if err := add(r); err != nil {
			return err
		}
	}
	return nil
}

// forgetClosedLocked removes the Routers whose last service has left.
func (p *ports) forgetClosedLocked() {
	for address, routers := range p.all {
		routers = slices.DeleteFunc(routers, (*listen.Router).Closed)
		if p.all[address] = routers; len(routers) == 0 {
			delete(p.all, address)
		}
	}
}

// openRouted opens a TLS listener whose clients are told apart by what they ask for, or takes part
// in that of another service. o.tls is nil if their TLS is passed through.
func (in *inbound) openRouted(ctx context.Context, spec listen.Spec, o openOptions) error {
	var secure func(net.Conn) net.Conn
	if config := o.tls; config != nil {
		secure = func(conn net.Conn) net.Conn { return tls.Server(in.guard.Handshakes.Watch(conn), config) }
	}
	open := func() ([]*listen.Router, error) { return in.openRouters(ctx, spec, o) }
	add := func(r *listen.Router) error {
		l, err := r.Prepare(o.wanted, secure)
		if err == nil {
			l.Frame(spec.Framing())
			in.addListener(spec, l)
		}
		return err
	}
	proxies := len(in.guard.ProxyFrom) > 0
	if config.ChoosesPort(spec) { // another one for each
		return new(ports).get("", proxies, open, add)
	}
	return in.ports.get(config.AddressKey(spec.String()), proxies, open, add)
}

func (in *inbound) openRouters(ctx context.Context, spec listen.Spec, o openOptions) (all []*listen.Router, err error) {
	if shares := o.heritage.take(spec, o.before); shares != nil {
		for _, share := range shares {
			r, openErr := share.OpenRouter(spec, in.guard, in.ports.logger)
			if openErr != nil {
				err = errors.Join(err, openErr)
				continue
			}
			all = append(all, r)
		}
		if err != nil {
			closeRouters(all)
		}
		return all, err
	}
	if spec.Inherited() {
		return in.inherited.OpenRouters(spec, in.guard, in.ports.logger)
	}
	r, err := listen.OpenRouter(ctx, spec, in.guard, in.ports.logger)
	if err != nil {
		return nil, err
	}
	return []*listen.Router{r}, nil
}

// closeRouters closes Routers that no service has.
func closeRouters(all []*listen.Router) {
	for _, r := range all {
		if l, err := r.Prepare(listen.Wanted{}, nil); err == nil {
			l.Close()
		}
	}
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

// activate makes the clients that the service wants its own, at routed listeners.
func (in *inbound) activate() {
	for _, l := range in.routed() {
		l.Activate()
	}
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
