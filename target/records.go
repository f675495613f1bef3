package target

// record is where one TLS record ends, in bytes of lines and in bytes on the wire.
type record struct{ plain, wire uint64 }

// records translates positions on the wire into positions in the lines: a record counts once it
// has arrived whole. The zero value is ready. Not safe for concurrent use.
type records struct {
	list  []record // those after the one last passed by read, in order
	acked int      // list[:acked] lie before the position last asked for by ackedAt
	read  uint64   // plain end of the last record dropped from list
}

func (r *records) add(plain, wire uint64) {
	r.list = append(r.list, record{plain, wire})
}

// ackedAt returns the lines' position that corresponds to a position on the wire. Positions must
// not go backwards.
func (r *records) ackedAt(wire uint64) uint64 {
	for r.acked < len(r.list) && r.list[r.acked].wire <= wire {
		r.acked++
	}
	if r.acked == 0 {
		return r.read
	}
	return r.list[r.acked-1].plain
}

// readAt is ackedAt for the position up to which records will not be asked for again; it forgets
// those before it.
func (r *records) readAt(wire uint64) uint64 {
	n := 0
	for n < r.acked && r.list[n].wire <= wire {
		r.read = r.list[n].plain
		n++
	}
	r.forget(n)
	return r.read
}

func (r *records) forget(n int) {
	if n == 0 {
		return
	}
	r.list = r.list[:copy(r.list, r.list[n:])]
	r.acked -= n
}
