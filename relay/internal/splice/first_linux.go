package splice

// First holds what a socket that loop.Loop.Connect has made needs for what is written and read
// first. The zero value is for other sockets, which need nothing.
type First struct {
	Nagle bool // TCP_NODELAY is not set; the first write does without
	Talks bool // connected with talks; neither a second write nor a read has followed

	late bool // the kernel may delay the acknowledgement of what comes first
}

// BeforeMore is called before all writes but the first.
func (s *Socket) BeforeMore() {
	if s.First.Nagle {
		s.First.Nagle = false
		s.NoDelay()
	}
	if s.First.Talks {
		s.First.Talks, s.First.late = false, true
	}
}

// wroteFirst is called after the first write. An end in place of it makes no acknowledgement late.
func (s *Socket) wroteFirst() {
	if s.First.Talks {
		s.AckAtOnce()
	}
}

// gotFirst is called after each read. The first one ends what Talks began.
func (s *Socket) gotFirst() {
	if s.First.late {
		s.First.late = false
		s.AckAtOnce()
	}
	s.First.Talks = false
}
