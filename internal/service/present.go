package service

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"linesplit/admin"
)

// present is the one service of a process without names: at each call that which is there then,
// since a reload may have replaced it. It implements admin.Control.
type present struct{ process *process }

func (c present) now() control { return control{c.process.all()[0], c.process} }

// Status implements admin.Control.
func (c present) Status() admin.Status { return c.now().Status() }

// Connections implements admin.Control.
func (c present) Connections(limit int) []admin.Connection { return c.now().Connections(limit) }

// Config implements admin.Control.
func (c present) Config() []admin.Setting { return c.now().Config() }

// Add implements admin.Control.
func (c present) Add(ctx context.Context, address string) error { return c.now().Add(ctx, address) }

// Remove implements admin.Control.
func (c present) Remove(ctx context.Context, name string) error { return c.now().Remove(ctx, name) }

// Drain implements admin.Control.
func (c present) Drain(ctx context.Context, name string) error { return c.now().Drain(ctx, name) }

// Resume implements admin.Control.
func (c present) Resume(ctx context.Context, name string) error { return c.now().Resume(ctx, name) }

// SetWeight implements admin.Control.
func (c present) SetWeight(ctx context.Context, name string, weight int) error {
	return c.now().SetWeight(ctx, name, weight)
}

// SetBalance implements admin.Control.
func (c present) SetBalance(ctx context.Context, rule string) error {
	return c.now().SetBalance(ctx, rule)
}

// Reload implements admin.Control.
func (c present) Reload(ctx context.Context) (changed, needRestart []string, err error) {
	return c.process.Reload(ctx)
}

// presentSyncs is the histogram of the syncs of that service's spool.
type presentSyncs struct {
	prometheus.Histogram // gives the name, which all have; has no values
	process              *process
}

// Collect implements prometheus.Collector.
func (h presentSyncs) Collect(metrics chan<- prometheus.Metric) {
	if s := h.process.all()[0]; s.failed == nil && s.mode.spoolSyncs() != nil {
		s.mode.spoolSyncs().Collect(metrics)
	}
}

// presentHistogram is the histogram of that service.
type presentHistogram struct {
	prometheus.Histogram // of the first one: all have the same name
	process              *process
}

// Collect implements prometheus.Collector.
func (h presentHistogram) Collect(metrics chan<- prometheus.Metric) {
	if s := h.process.all()[0]; s.failed == nil {
		s.mode.histogram().Collect(metrics)
	}
}
