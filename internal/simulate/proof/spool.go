package proof

import (
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/send"
	"linesplit/internal/simulate/sink"
)

// -memory in scenarios that fill it.
const (
	smallMemory     = 16 * humanize.MiByte
	smallMemoryFlag = "16MiB"
)

// What senders send at full speed while all targets are down.
const (
	outageMemories = 10 // times as many bytes as -memory
	rushSenders    = 4
	rushLine       = 1000 // bytes
	rushLines      = outageMemories*smallMemory/rushLine/rushSenders + 1
)

// Load and sizes that fill the disk of the spool. -spool-size is larger than the disk. Where no
// disk can be mounted, it is the smallest possible.
const (
	fillSenders   = 4
	fillRate      = 15_000 // lines per second and sender
	smallDisk     = 24 * humanize.MiByte
	beyondDisk    = "64MiB"
	smallestSpool = "16MiB"
)

// outageBeyondMemory sends ten times as much as memory holds while all targets are down. It
// succeeds only if senders are not held up.
func outageBeyondMemory(s *stage) {
	s.startLoad(2, steadyRate)
	s.awaitLines(400)
	s.each((*sink.Sink).Exit)
	before, began := s.linesRead(), time.Now()
	rush := s.startClients(send.Options{Connections: rushSenders, Lines: rushLines,
		Length: record.Length{Min: rushLine, Max: rushLine}})
	if s.failed() {
		return
	}
	s.awaitClients(rush)
	took, sent := time.Since(began), rushSenders*rushLines+sum(s.allSent())
	s.waitUntil("the proxy has read what was sent in the outage", func() bool { return s.counts().received >= sent })
	c := s.counts()
	s.recordStaged(s.linesRead() == before && c.spooledBytes >= (outageMemories-2)*smallMemory,
		"all targets down while senders sent %s, which is %d times -memory, in %.1f s; %s of it in the spool",
		humanize.IBytes(rushSenders*rushLines*rushLine), outageMemories, took.Seconds(), humanize.IBytes(c.spooledBytes))
	s.checkMemory(c)
	s.each(s.restart)
	s.startRecovery()
	s.awaitLines(rushSenders * rushLines)
	s.checkMemory(s.counts())
}

// checkMemory fails if lines take more memory than -memory allows, or the process much more.
func (s *stage) checkMemory(c counts) {
	if c.memory > smallMemory {
		s.fail(Failed, "lines take %s of memory, and -memory is %s", humanize.IBytes(c.memory), smallMemoryFlag)
	}
	if n := s.peak.max(); n > residentFactor*smallMemory {
		s.fail(Failed, "the proxy has used %s of memory, and -memory is %s", humanize.IBytes(uint64(n)), smallMemoryFlag)
	}
}

// spoolFull stops all targets until the disk of the spool is full, which must hold the senders up
// as without a spool, and then starts the targets again. The lines that waited must arrive, and the
// senders must go on.
func spoolFull(s *stage) {
	s.startLoad(fillSenders, fillRate)
	n := s.size(2, 1)
	for range n {
		s.awaitLines(2000)
		s.each((*sink.Sink).Exit)
		before := s.linesRead()
		until := s.awaitBackpressure()
		s.sleep(time.Second)
		c := s.counts()
		s.recordStaged(s.linesRead() == before && c.spooled > 0,
			"outages of all targets: %d, %s, with %s lines in the spool: %s", n, until, comma(c.spooled), s.fullDisk())
		s.each(s.restart)
		s.startRecovery()
		waited := s.allSent()
		s.waitUntil("the lines that waited arrive", func() bool { return s.allRead(waited) })
		enough := sum(s.allSent()) + fillSenders*fillRate
		s.waitUntil("senders are no longer held up", func() bool { return sum(s.allSent()) >= enough })
	}
}

// spoolFlags returns the flags of the spool. A proxy that is started again gets the same directory.
func (s *stage) spoolFlags() []string {
	flags := []string{"-spool", filepath.Join(s.dir, "spool")}
	switch {
	case s.disk != "":
		flags = []string{"-spool", filepath.Join(s.disk, "spool"), "-spool-size", beyondDisk}
	case s.setup.disk:
		flags = append(flags, "-spool-size", smallestSpool)
	}
	return flags
}

// fullDisk names in words what was full.
func (s *stage) fullDisk() string {
	if s.disk != "" {
		return "a disk of " + humanize.IBytes(smallDisk) + " was full"
	}
	return "a spool of " + smallestSpool + " was full, since no disk can be mounted here"
}

// makeDisk chooses the directory of the small disk, if the scenario has one and a disk can be
// mounted. Otherwise -spool-size takes its place.
func (s *stage) makeDisk() {
	dir := filepath.Join(s.dir, "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		s.fail(Unproven, "%w", err)
		return
	}
	if canMountDisk(dir) {
		s.disk = dir
	}
}
