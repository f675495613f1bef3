package target

// record is the position at which one TLS record ends, in bytes of plaintext lines and in bytes on
// the wire.
type record struct{ plain, wire uint64 }

// records translates positions on the wire into positions in the plaintext: a record counts once it
// has arrived whole. The zero value is ready to use. It is not safe for concurrent use.
type records struct {
	list  []record // the records behind the last position of readAt, in order
	acked int      // list[:acked] end at or before the last position of ackedAt
	read  uint64   // plaintext end of the last record removed from list
}

func (r *records) add(plain, wire uint64) {
	r.list = append(r.list, record{plain, wire})
}

// ackedAt returns the plaintext position that corresponds to a position on the wire. Positions must
// not decrease from call to call.
func (r *records) ackedAt(wire uint64) uint64 {
	for r.acked < len(r.list) && r.list[r.acked].wire <= wire {
		r.acked++
	}
	if r.acked == 0 {
		return r.read
	}
	return r.list[r.acked-1].plain
}

// readAt is like ackedAt, and removes the records that end at or before the position.
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
