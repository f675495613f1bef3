package admin

import "github.com/prometheus/client_golang/prometheus"

// NewSpoolSync returns the histogram of the seconds that fdatasync took on segments of a spool. Its
// Observe is safe for concurrent use and does not allocate. The buckets range from a disk with a
// battery to one that hangs.
func NewSpoolSync() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "linesplit_spool_sync_seconds",
		Help: "Seconds that it took to flush written lines of the spool to the disk.",
		Buckets: []float64{
			100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30,
		},
	})
}

// addSpool adds the metrics of the spool. They have values only where there is one.
func (c *collector) addSpool() {
	c.addSpoolPassage()
	c.addSpoolSize()
	c.addSpoolCounts()
	c.addSpoolGroups()
}

// spool adds a metric of the spool.
func (c *collector) spool(name, help string, kind prometheus.ValueType, value func(*SpoolStatus) uint64) {
	c.add("spool_"+name, help, nil, kind, func(s *Status, emit emitter) {
		if s.Spool != nil {
			emit(float64(value(s.Spool)))
		}
	})
}

// addSpoolPassage adds the part of the ledger that balances it where there is a spool.
func (c *collector) addSpoolPassage() {
	counter := func(name, help string, value func(*Ledger) uint64) {
		c.add(name, help, nil, prometheus.CounterValue, func(s *Status, emit emitter) {
			if s.Spool != nil {
				emit(float64(value(s.ledger())))
			}
		})
	}
	counter("spooled_lines_total", "Lines that went to the spool in place of a worker, or from one at the end.",
		func(l *Ledger) uint64 { return l.Spooled.Lines })
	counter("spooled_bytes_total", "Bytes that went to the spool in place of a worker, or from one at the end.",
		func(l *Ledger) uint64 { return l.Spooled.Bytes })
	counter("replayed_lines_total", "Lines that workers got from the spool, those of an earlier run included.",
		func(l *Ledger) uint64 { return l.Replayed.Lines })
	counter("replayed_bytes_total", "Bytes that workers got from the spool, those of an earlier run included.",
		func(l *Ledger) uint64 { return l.Replayed.Bytes })
}

func (c *collector) addSpoolSize() {
	gauge := func(name, help string, value func(*SpoolStatus) uint64) {
		c.spool(name, help, prometheus.GaugeValue, value)
	}
	gauge("bytes", "Bytes that the segment files of the spool take, including room that was allocated ahead.",
		func(s *SpoolStatus) uint64 { return s.Bytes })
	gauge("limit_bytes", "Limit of the segment files of the spool.",
		func(s *SpoolStatus) uint64 { return s.LimitBytes })
	gauge("segments", "Segment files of the spool.",
		func(s *SpoolStatus) uint64 { return s.Segments })
	gauge("unscanned_bytes", "Bytes of segments of earlier runs whose lines are not counted yet.",
		func(s *SpoolStatus) uint64 { return s.UnscannedBytes })
	gauge("full", "1 while there is no room, within the limit of the spool or on the disk, so that senders wait or the oldest lines are dropped, else 0.",
		func(s *SpoolStatus) uint64 { return uint64(oneIf(s.Full)) })
	gauge("unconfirmed_lines", "Lines in the spool that not all groups have confirmed.",
		func(s *SpoolStatus) uint64 { return s.Unconfirmed.Lines })
	gauge("unconfirmed_bytes", "Bytes of lines in the spool that not all groups have confirmed.",
		func(s *SpoolStatus) uint64 { return s.Unconfirmed.Bytes })
	gauge("held_bytes", "Bytes of memory of lines that wait to be flushed to the disk.",
		func(s *SpoolStatus) uint64 { return s.HeldBytes })
	c.add("spool_oldest_timestamp_seconds", "When the oldest unconfirmed line in the spool was read, in seconds since 1970.",
		nil, prometheus.GaugeValue, func(s *Status, emit emitter) {
			if s.Spool != nil && !s.Spool.Oldest.IsZero() {
				emit(float64(s.Spool.Oldest.UnixMilli()) / 1000)
			}
		})
}

func (c *collector) addSpoolCounts() {
	counter := func(name, help string, value func(*SpoolStatus) uint64) {
		c.spool(name, help, prometheus.CounterValue, value)
	}
	counter("appended_lines_total", "Lines written to the spool.",
		func(s *SpoolStatus) uint64 { return s.Appended.Lines })
	counter("appended_bytes_total", "Bytes of lines written to the spool.",
		func(s *SpoolStatus) uint64 { return s.Appended.Bytes })
	counter("dropped_lines_total", "Lines dropped from the spool, the oldest first, to make room for new ones.",
		func(s *SpoolStatus) uint64 { return s.Dropped.Lines })
	counter("dropped_bytes_total", "Bytes of lines dropped from the spool to make room for new ones.",
		func(s *SpoolStatus) uint64 { return s.Dropped.Bytes })
	counter("orphaned_lines_total", "Lines in the spool that waited for groups that no longer exist.",
		func(s *SpoolStatus) uint64 { return s.Orphaned.Lines })
	counter("orphaned_bytes_total", "Bytes of lines in the spool that waited for groups that no longer exist.",
		func(s *SpoolStatus) uint64 { return s.Orphaned.Bytes })
	counter("quarantined_frames_total", "Damaged frames of the spool, kept aside and not delivered.",
		func(s *SpoolStatus) uint64 { return s.QuarantinedFrames })
	counter("quarantined_lines_total", "Lines of damaged frames of the spool, kept aside and not delivered.",
		func(s *SpoolStatus) uint64 { return s.Quarantined.Lines })
	counter("quarantined_bytes_total", "Bytes of damaged frames of the spool, kept aside and not delivered.",
		func(s *SpoolStatus) uint64 { return s.Quarantined.Bytes })
	counter("syncs_total", "Times that written lines of the spool were flushed to the disk.",
		func(s *SpoolStatus) uint64 { return s.Syncs })
	counter("sync_errors_total", "Failed flushes of files of the spool.",
		func(s *SpoolStatus) uint64 { return s.SyncErrors })
	counter("write_errors_total", "Failed writes to files of the spool.",
		func(s *SpoolStatus) uint64 { return s.WriteErrors })
	counter("faults_total", "Errors of the spool's disk and damage in its files, of all kinds.",
		func(s *SpoolStatus) uint64 { return s.Faults })
}

func (c *collector) addSpoolGroups() {
	each := func(name, help string, kind prometheus.ValueType, value func(*SpoolGroup) uint64) {
		c.add("spool_group_"+name, help, []string{"group"}, kind, func(s *Status, emit emitter) {
			if s.Spool == nil {
				return
			}
			for i := range s.Spool.Groups {
				emit(float64(value(&s.Spool.Groups[i])), s.Spool.Groups[i].Name)
			}
		})
	}
	counter, gauge := prometheus.CounterValue, prometheus.GaugeValue
	each("waiting_lines", "Lines in the spool that wait to be read back for the group.", gauge,
		func(g *SpoolGroup) uint64 { return g.Waiting.Lines })
	each("waiting_bytes", "Bytes of lines in the spool that wait to be read back for the group.", gauge,
		func(g *SpoolGroup) uint64 { return g.Waiting.Bytes })
	each("in_flight_lines", "Lines in the spool that the group's workers have taken and not confirmed.", gauge,
		func(g *SpoolGroup) uint64 { return g.InFlight.Lines })
	each("replayed_lines_total", "Lines read back from the spool for the group.", counter,
		func(g *SpoolGroup) uint64 { return g.Replayed.Lines })
	each("replayed_bytes_total", "Bytes of lines read back from the spool for the group.", counter,
		func(g *SpoolGroup) uint64 { return g.Replayed.Bytes })
	each("confirmed_lines_total", "Lines in the spool that the group has confirmed.", counter,
		func(g *SpoolGroup) uint64 { return g.Confirmed.Lines })
	each("confirmed_bytes_total", "Bytes of lines in the spool that the group has confirmed.", counter,
		func(g *SpoolGroup) uint64 { return g.Confirmed.Bytes })
	each("dropped_lines_total", "Lines that waited for the group and were dropped from the spool to make room.", counter,
		func(g *SpoolGroup) uint64 { return g.Dropped.Lines })
	each("dropped_bytes_total", "Bytes of lines that waited for the group and were dropped from the spool to make room.", counter,
		func(g *SpoolGroup) uint64 { return g.Dropped.Bytes })
}
