package admin

import "github.com/prometheus/client_golang/prometheus"

// addGroups adds the counts of groups of targets in line mode. They have values only where there
// are several groups.
func (c *collector) addGroups() {
	each := func(name, help string, kind prometheus.ValueType, value func(*GroupStatus) uint64) {
		c.add(name, help, []string{"group"}, kind, func(s *Status, emit emitter) {
			for i := range s.Groups {
				emit(float64(value(&s.Groups[i])), s.Groups[i].Name)
			}
		})
	}
	counter, gauge := prometheus.CounterValue, prometheus.GaugeValue
	each("group_given_lines_total", "Lines that the group is to get, each once.", counter,
		func(g *GroupStatus) uint64 { return g.Given.Lines })
	each("group_confirmed_lines_total", "Lines confirmed by targets of the group.", counter,
		func(g *GroupStatus) uint64 { return g.Confirmed.Lines })
	each("group_confirmed_bytes_total", "Bytes confirmed by targets of the group.", counter,
		func(g *GroupStatus) uint64 { return g.Confirmed.Bytes })
	each("group_rejected_lines_total", "Lines that targets of the group have refused for good.", counter,
		func(g *GroupStatus) uint64 { return g.Rejected.Lines })
	each("group_resent_lines_total", "Lines sent again within the group, which may have arrived twice.", counter,
		func(g *GroupStatus) uint64 { return g.Resent.Lines })
	each("group_dropped_lines_total", "Lines dropped for a best-effort group beyond its budget.", counter,
		func(g *GroupStatus) uint64 { return g.Dropped.Lines })
	each("group_dropped_bytes_total", "Bytes dropped for a best-effort group beyond its budget.", counter,
		func(g *GroupStatus) uint64 { return g.Dropped.Bytes })
	each("group_queued_lines", "Lines not yet taken by a worker of the group.", gauge,
		func(g *GroupStatus) uint64 { return g.Queued.Lines })
	each("group_retained_lines", "Lines written to targets of the group and not yet confirmed.", gauge,
		func(g *GroupStatus) uint64 { return g.Retained.Lines })
	each("group_memory_bytes", "Bytes of memory held for the group, perhaps for others, too.", gauge,
		func(g *GroupStatus) uint64 { return g.MemoryBytes })
	each("group_budget_bytes", "Budget of a best-effort group for memory; 0: a required group has none.", gauge,
		func(g *GroupStatus) uint64 { return g.BudgetBytes })
	c.add("target_group", "1 for each target and its group.", []string{"target", "group"}, gauge, func(s *Status, emit emitter) {
		for i := range s.Targets {
			if t := &s.Targets[i]; t.Group != "" {
				emit(1, t.Name, t.Group)
			}
		}
	})
}
