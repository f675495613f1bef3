//go:build linux

package main

import (
	"context"
	"fmt"
)

func (b *bench) scale(ctx context.Context) (section, error) {
	var specs []transferSpec
	var names []string
	add := func(senders, targets int) {
		specs = append(specs, transferSpec{senders: senders, targets: targets, line: b.size.line, bytes: wholeLines(b.size.scale, b.size.line)})
		names = append(names, fmt.Sprintf("%s, %s", count(senders, "sender"), count(targets, "target")))
	}
	for _, n := range b.size.senders {
		add(n, 2)
	}
	for _, n := range b.size.targets {
		add(2, n)
	}
	fmt.Fprintf(b.log, "scale: %.1f GB per run\n", float64(b.size.scale)/1e9)
	t := newTable(names, "MB/s", "CPU s/GB", "peak MiB")
	err := b.turns(b.reps, names, func(i int) (string, error) {
		r, err := b.transfer(ctx, linesplit, specs[i])
		if err != nil {
			return "", err
		}
		gb := float64(specs[i].bytes) / 1e9
		t.add(i, gb*1e3/r.seconds, r.cpu/gb, float64(r.peak)/(1<<20))
		return fmt.Sprintf("%6.0f MB/s  %.3f CPU s/GB  %.1f MiB", gb*1e3/r.seconds, r.cpu/gb, float64(r.peak)/(1<<20)), nil
	})
	t.addFlatness("senders: dearest / cheapest", 1, 0, len(b.size.senders))
	t.addFlatness("targets: dearest / cheapest", 1, len(b.size.senders), len(names))
	return section{
		title: "Scaling of linesplit",
		about: fmt.Sprintf("Lines of %d bytes, %.1f GB per run over all senders, four connections to each target.", b.size.line, float64(b.size.scale)/1e9),
		table: t,
	}, err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
