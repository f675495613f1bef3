//go:build linux

package section

import (
	"context"
	"fmt"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
	"linesplit/internal/veth"
)

// linkMTU is the size of the largest packet that Ethernet carries, in bytes.
const linkMTU = 1500

// linkTitles are the titles of the two links.
var linkTitles = [2]string{"with offloads", "without offloads"}

// link is a network namespace for targets.
type link struct {
	*veth.Namespace
	title    string
	offloads string // of the two ends
	packets  string
}

func (b *Bench) linkContenders() []string {
	return append([]string{contender.Direct}, b.commonContenders()...)
}

func (b *Bench) linkTime() float64 {
	return b.transferTime(2*len(b.linkContenders()), b.size.link, 0.6e9)
}

// link measures targets in network namespaces of their own. Where it may not make any, it notes why
// and measures nothing.
func (b *Bench) link(ctx context.Context) (found []report.Section, err error) {
	links, err := makeLinks()
	defer func() {
		for _, l := range links {
			l.Close()
		}
	}()
	if err != nil {
		b.note(fmt.Sprintf("Targets across a link were not measured: %v. They need the program ip and root, or "+
			"a user namespace: unshare -Urn sh -c 'ip link set lo up; go run ./bench -only link'.", err))
		return nil, nil
	}
	spec := load.Transfer{Senders: 2, Targets: 2, Line: b.size.line, Bytes: b.size.link}
	var all []*trial
	for _, l := range links {
		t, trials := newTrials(b.linkContenders(), transferColumns...)
		for _, trial := range trials {
			trial.far, trial.label = l.Namespace, trial.Name+", "+l.title
		}
		all = append(all, trials...)
		found = append(found, report.Section{Title: "Targets across a link, " + l.title,
			About: b.aboutLink(l, spec), Table: t})
	}
	if err := b.transferAll(ctx, all, spec); err != nil {
		return nil, err
	}
	var tables []*report.Table
	var series []string
	for i, s := range found {
		s.Table.Hide(contender.Direct, proxyColumns...)
		addRatios(s.Table, contender.Linesplit)
		addRatios(s.Table, contender.LinesplitConnection)
		tables, series = append(tables, s.Table), append(series, links[i].title)
	}
	rows := b.linkContenders()
	found[len(found)-1].Figures = []report.Figure{
		report.Grouped(rows, series, tables, "link", "Targets across a link: throughput", "MB/s", "MB/s"),
		report.Grouped(rows[1:], series, tables, "link-cpu", "Targets across a link: processor time", "CPU s/GB", "CPU s/GB"),
	}
	return found, nil
}

// makeLinks makes a link with the offloads that the kernel gives to one, and a link without any.
// The caller closes the links, also those that come with an error.
func makeLinks() (links []link, err error) {
	for _, l := range []link{
		{title: linkTitles[0], packets: "packets of up to 64 KiB cross it whole"},
		{title: linkTitles[1], packets: fmt.Sprintf("no packet is larger than %d bytes", linkMTU)},
	} {
		if l.Namespace, err = veth.New(); err != nil {
			return links, err
		}
		links = append(links, l)
		if err := l.SetMTU(linkMTU); err != nil {
			return links, err
		}
		if len(links) == 2 {
			if err := l.SetOffloads(false); err != nil {
				return links, err
			}
		}
		if links[len(links)-1].offloads, err = l.Offloads(); err != nil {
			return links, err
		}
	}
	return links, nil
}

func (b *Bench) aboutLink(l link, spec load.Transfer) string {
	return fmt.Sprintf("The targets are in another network namespace, across a pair of virtual devices (veth) with an MTU "+
		"of %d; offloads of the two ends: %s, so %s. Two senders on the loopback, two targets (linesplit: %d connections "+
		"to each), lines of %d bytes, %.1f GB per run; every byte arrived, and in a run before every line was checked. "+
		"The kernel does much of the receivers' work in the time of the process that sends.",
		linkMTU, l.offloads, l.packets, contender.BaseWorkers, spec.Line, float64(spec.Bytes)/1e9)
}
