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
	named  bool         // services have names, so that there may be several

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
			l.SetUse(spec)
			in.addListener(spec, l)
		}
		return err
	}
	proxies := len(in.guard.ProxyFrom) > 0
	if config.ChoosesPort(spec) { // another one for each
		return new(ports).get("", proxies, open, add)
	}
	return in.ports.get(config.ListenerKey(spec), proxies, open, add)
}

func (in *inbound) openRouters(ctx context.Context, spec listen.Spec, o openOptions) (all []*listen.Router, err error) {
	// What it refuses is not for one service, and it may outlive the service that opens it.
	guard := &listen.Guard{
		Allow: in.guard.Allow, Deny: in.guard.Deny, ProxyFrom: in.guard.ProxyFrom, Logger: in.ports.logger,
	}
	if shares := o.heritage.take(spec, o.before); shares != nil {
		for _, share := range shares {
			r, openErr := share.OpenRouter(spec, guard, in.ports.logger)
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
		return in.inherited.OpenRouters(spec, guard, in.ports.logger)
	}
	r, err := listen.OpenRouter(ctx, spec, guard, in.ports.logger)
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
// connections. What may be for several services is left to ports.totals.
func (in *inbound) describeRouted(t *admin.Totals) {
	var before admin.SharedPorts // what came to Routers that are of this service alone
	busy := uint64(0)
	routed := in.routed()
	for _, l := range routed {
		busy += l.Busy()
		if !in.ports.share(l.Router()) {
			addRouter(&before, l.Router())
		}
	}
	t.Probes += before.Probes
	t.AcceptErrors += before.AcceptErrors
	for _, r := range before.Refused {
		addRefused(&t.Refused, r.Reason, r.Count)
	}
	if len(routed) > 0 {
		addRefused(&t.Refused, listen.ReasonBusy, busy)
	}
}

// share reports whether services may share a Router, though there may be one only at the moment.
func (p *ports) share(r *listen.Router) bool {
	if !p.named {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, routers := range p.all {
		if slices.Contains(routers, r) {
			return true
		}
	}
	return false
}

// totals returns what has come to the Routers that services share, and to none of the services.
func (p *ports) totals() (t admin.SharedPorts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetClosedLocked()
	for _, routers := range p.all {
		for _, r := range routers {
			addRouter(&t, r)
		}
	}
	return t
}

func addRouter(t *admin.SharedPorts, r *listen.Router) {
	s, g := r.Stats(), r.Guard().Stats()
	t.Probes += s.Probes + g.Probes
	t.AcceptErrors += s.AcceptErrors
	addRefused(&t.Refused, reasonDenied, g.Denied)
	addRefused(&t.Refused, reasonProxy, g.ProxyErrors)
	for _, one := range s.Refused {
		if one.Reason != listen.ReasonBusy {
			addRefused(&t.Refused, one.Reason, one.Count)
		}
	}
}

// addRefused adds to the count of a reason.
func addRefused(all *[]admin.RefusedBy, reason string, n uint64) {
	i := slices.IndexFunc(*all, func(r admin.RefusedBy) bool { return r.Reason == reason })
	if i < 0 {
		*all = append(*all, admin.RefusedBy{Reason: reason})
		i = len(*all) - 1
	}
	(*all)[i].Count += n
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
			distinct[config.ListenerKey(spec)] = true
		}
	}
	return n + len(distinct)*listen.MaxPendingHellos
}
