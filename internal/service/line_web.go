package service

import (
	"fmt"
	"net"
	"slices"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/internal/httpsource"
	"linesplit/linebuf"
	"linesplit/listen"
	"linesplit/splitter"
)

// makeWeb makes what serves http:// and https:// listeners, with the tokens that these need.
func (m *lineMode) makeWeb(cfg config.Config) error {
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
	var required linebuf.Groups
	required |= 1 // that of -target
	for i, g := range cfg.Groups {
		if g.Required {
			required |= 1 << (i + 1)
		}
	}
	m.web = httpsource.New(httpsource.Options{
		Pool: m.buffers, Senders: webSenders{m.split}, Required: required, Limits: m.webLimits, Logger: m.logger,
	})
	return nil
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

// NewFeed implements httpsource.Senders.
func (s webSenders) NewFeed() httpsource.Feed { return s.Splitter.NewFeed() }

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
