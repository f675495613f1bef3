package target

import (
	"math/rand/v2"
	"testing"
)

// naiveRecords is the naive model of records: it removes nothing and searches from the start.
type naiveRecords []record

func (n naiveRecords) at(wire uint64) uint64 {
	var plain uint64
	for _, r := range n {
		if r.wire <= wire {
			plain = r.plain
		}
	}
	return plain
}

// checkRecords applies ops, three bytes each, to records and to the naive model.
func checkRecords(t *testing.T, ops []byte) {
	t.Helper()
	var r records
	var naive naiveRecords
	var plain, wire, acked, read uint64
	for ; len(ops) >= 3; ops = ops[3:] {
		arg := uint64(ops[1])<<8 | uint64(ops[2])
		switch ops[0] % 4 {
		case 0, 1:
			plain += arg % (maxRecord + 1)
			wire += arg%(maxRecord+1) + 22
			if ops[0]%8 >= 6 {
				wire += 40 // a record without lines, such as a key update
			}
			r.add(plain, wire)
			naive = append(naive, record{plain, wire})
		case 2:
			acked = min(acked+arg, wire)
		case 3:
			read = min(read+arg, acked)
		}
		if got, want := r.ackedAt(acked), naive.at(acked); got != want {
			t.Fatalf("ackedAt(%d) = %d, want %d", acked, got, want)
		}
		if got, want := r.readAt(read), naive.at(read); got != want {
			t.Fatalf("readAt(%d) = %d, want %d", read, got, want)
		}
		if len(r.list) > 0 && r.list[0].wire <= read {
			t.Fatalf("the record that ends at %d is kept though %d was read", r.list[0].wire, read)
		}
	}
}

func TestRecordsAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		ops := make([]byte, 3*random.IntN(400))
		for i := range ops {
			ops[i] = byte(random.Uint32())
		}
		checkRecords(t, ops)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 1, 20, 3, 1, 20, 0, 1, 0, 2, 1, 21})
	f.Fuzz(checkRecords)
}

func TestRecordsBoundaries(t *testing.T) {
	var r records
	if got := r.ackedAt(1 << 40); got != 0 {
		t.Errorf("without records: %d", got)
	}
	r.add(100, 1122) // 1000 bytes of handshake before it
	r.add(200, 1244)
	for wire, want := range map[uint64]uint64{0: 0, 1000: 0, 1121: 0} {
		if got := r.ackedAt(wire); got != want {
			t.Errorf("ackedAt(%d) = %d, want %d", wire, got, want)
		}
	}
	acks := []struct{ wire, want uint64 }{{1122, 100}, {1123, 100}, {1243, 100}, {1244, 200}, {9999, 200}}
	for _, step := range acks {
		if got := r.ackedAt(step.wire); got != step.want {
			t.Errorf("ackedAt(%d) = %d, want %d", step.wire, got, step.want)
		}
	}
	for _, step := range []struct{ wire, want uint64 }{{0, 0}, {1121, 0}, {1122, 100}, {1243, 100}, {1244, 200}} {
		if got := r.readAt(step.wire); got != step.want {
			t.Errorf("readAt(%d) = %d, want %d", step.wire, got, step.want)
		}
	}
	if got := r.ackedAt(1244); got != 200 || len(r.list) != 0 {
		t.Errorf("with all records removed: ackedAt = %d, %d records kept", got, len(r.list))
	}
}
