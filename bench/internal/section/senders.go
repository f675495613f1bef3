//go:build linux

package section

import (
	"context"
	"fmt"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
)

// crowd is a number of senders and targets at which a proxy is measured.
type crowd struct {
	name, title      string
	senders, targets int
}

// crowds are the extremes: one sender, which only a proxy that splits can spread, and more senders
// than the kernel has memory for.
func (b *Bench) crowds() []crowd {
	return []crowd{
		{"one", "one sender, two targets", 1, 2},
		{"crowd", report.Count(b.size.crowd, "sender") + ", four targets", b.size.crowd, 4},
	}
}

func (b *Bench) senderContenders() []string {
	return without(b.lineContenders(), contender.Socat, contender.Rsyslog)
}

func (b *Bench) sendersTime() float64 {
	return b.transferTime(len(b.crowds())*len(b.senderContenders()), b.size.senderBytes, 0.8e9)
}

func (b *Bench) senders(ctx context.Context) (found []report.Section, err error) {
	var all []*trial
	for _, c := range b.crowds() {
		t, trials := newTrials(b.senderContenders(), transferColumns...)
		spec := load.Transfer{Senders: c.senders, Targets: c.targets, Line: b.size.line, Bytes: b.size.senderBytes}
		for _, trial := range trials {
			trial.spec, trial.label = spec, trial.Name+", "+c.title
		}
		all = append(all, trials...)
		title := "Line mode: " + c.title
		found = append(found, report.Section{
			Title: title,
			About: fmt.Sprintf("Lines of %d bytes, %.1f GB per run over all senders (linesplit: %d connections to each "+
				"target); every byte arrived, and in a run before every line was checked. %s",
				spec.Line, float64(spec.Bytes)/1e9, contender.BaseWorkers, aboutEnds),
			Table: t,
			Figures: []report.Figure{
				report.Bars(t, "senders-"+c.name, title, "MB/s", "MB/s"),
				report.Bars(t, "senders-"+c.name+"-cpu", title+", processor time", "CPU s/GB", "CPU s/GB"),
			},
		})
	}
	if err := b.checkAndMeasure(ctx, all); err != nil {
		return nil, err
	}
	for _, s := range found {
		s.Table.Hide(contender.Direct, proxyColumns...)
		addRatios(s.Table, contender.Linesplit)
	}
	return found, nil
}
