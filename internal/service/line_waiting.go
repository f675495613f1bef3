package service

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/internal/httpsource"
	"linesplit/internal/relpsource"
	"linesplit/linebuf"
	"linesplit/listen"
	"linesplit/splitter"
)

// makeWaited makes what serves listeners whose senders wait for answers, with the tokens that these
// need.
func (m *lineMode) makeWaited(cfg config.Config) error {
	m.tokens = map[string]*admin.Token{}
	for _, spec := range cfg.Listen {
		if file := spec.Web().TokenFile; file != "" {
			token, err := admin.LoadListenerToken(file, m.logger)
			if err != nil {
				return fmt.Errorf("listener %s: %w", spec, err)
			}
			m.tokens[file] = token
		}
	}
	required := linebuf.Groups(1) // that of -target
	for i, g := range cfg.Groups {
		if g.Required {
			required |= 1 << (i + 1)
		}
	}
	m.web = httpsource.New(httpsource.Options{
		Pool: m.buffers, Senders: webSenders{m.split}, Required: required, Limits: m.webLimits, Logger: m.logger,
	})
	m.relp = relpsource.New(relpsource.Options{
		Pool: m.buffers, Splitter: m.split, Required: required, Limits: m.relpLimits,
		Version: m.service.shared.version, Logger: m.logger,
	})
	return nil
}

// serveSenders accepts senders from a listener.
func (m *lineMode) serveSenders(soft, hard context.Context, ln net.Listener) error {
	if web := webOf(ln); web.On {
		return m.web.Serve(soft, hard, ln, m.endpoint(web))
	}
	if l, ok := ln.(interface{ RELP() bool }); ok && l.RELP() {
		return m.relp.Serve(soft, hard, ln)
	}
	return m.split.Serve(soft, hard, ln)
}

// finishSenders answers senders that still wait, once what will be confirmed is, or is in the
// spool.
func (m *lineMode) finishSenders() {
	var all sync.WaitGroup
	all.Go(m.web.Finish)
	all.Go(m.relp.Finish)
	all.Wait()
}

func (m *lineMode) relpLimits() relpsource.Limits {
	cfg := m.cfg.Load()
	return relpsource.Limits{MaxLine: cfg.Lines.MaxLine, IdleTimeout: cfg.Lines.IdleTimeout, Drain: m.sendersDrain()}
}

func (m *lineMode) webLimits() httpsource.Limits {
	cfg := m.cfg.Load()
	return httpsource.Limits{MaxLine: cfg.Lines.MaxLine, IdleTimeout: cfg.Lines.IdleTimeout, Drain: m.sendersDrain()}
}

// webOf returns the options of a listener for HTTP requests.
func webOf(ln net.Listener) listen.Web {
	if l, ok := ln.(interface{ Web() listen.Web }); ok {
		return l.Web()
	}
	return listen.Web{}
}

// endpoint returns what a listener offers.
func (m *lineMode) endpoint(w listen.Web) httpsource.Endpoint {
	e := httpsource.Endpoint{Path: w.Path, MaxRequest: w.MaxRequest, Timeout: w.Timeout}
	if token := m.tokens[w.TokenFile]; token != nil {
		e.Token = token
	}
	return e
}

// webSenders counts the senders of requests with those of the Splitter.
type webSenders struct{ *splitter.Splitter }

// Admit implements httpsource.Senders.
func (s webSenders) Admit(nc net.Conn, ln net.Listener) (httpsource.Sender, bool) {
	x, ok := s.Splitter.Admit(nc, ln)
	return x, ok
}

// answers returns how many requests there were, by status. There are none without a listener for
// them.
func (m *lineMode) answers() (all []admin.AnsweredBy) {
	if !slices.ContainsFunc(m.cfg.Load().Listen, func(spec listen.Spec) bool { return spec.Web().On }) {
		return nil
	}
	for _, a := range m.web.Stats().Answers {
		status := "gone"
		if a.Status > 0 {
			status = fmt.Sprint(a.Status)
		}
		all = append(all, admin.AnsweredBy{Status: status, Count: a.N})
	}
	return all
}
