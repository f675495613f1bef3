package spool

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"iter"
)

// The file of batches of a segment tells which frames were sent together to a target that knows
// batches by their IDs. The lowest segment that has frames of a batch has the note of it. The file
// has one record after the other:
//
//	 0  magic
//	 4  CRC32C of the id of the segment and of the record from offset 8 on
//	 8  number of runs
//	12  index of the group in the header of the segment; with bit 31 the group has confirmed all
//	16  runs of 16 bytes: the first bytes of the id of a segment, number of the first frame, number
//	    of frames
//
// The first run is the one frame that names the batch, its first one. A later record with the same
// name goes on with the batch. The file ends at the first record that is not whole.
//
// Where the confirmations of a batch are in several blocks, which a crash could come between, a
// record with bit 31 is written before them.
const (
	batchMagic  = 0x48435442 // "BTCH"
	batchHeader = 16
	batchRun    = 16
)

// maxBatchFile is the size of a file of batches from which on nothing is added to it: four times
// that of the runs of all frames that a segment has at most.
const maxBatchFile = 4 * batchRun * maxFrames

// frameRun is frames of a segment that follow one another.
type frameRun struct {
	source       uint64 // short id of the segment
	from, frames uint32
}

// batchRecord is a record of a file of batches.
type batchRecord struct {
	group     uint32 // index in the header of the segment
	confirmed bool
	runs      []frameRun
}

// batchConfirmed is the bit of a record that the group has confirmed.
const batchConfirmed = 1 << 31

// name returns the frame that names the batch.
func (r *batchRecord) name() frameID { return frameID{r.runs[0].source, r.runs[0].from} }

// each returns the frames, in their order.
func (r *batchRecord) each() iter.Seq[frameID] {
	return func(yield func(frameID) bool) {
		for _, run := range r.runs {
			for i := range run.frames {
				if !yield(frameID{run.source, run.from + i}) {
					return
				}
			}
		}
	}
}

// add adds a frame behind the others.
func (r *batchRecord) add(source uint64, frame uint32) {
	if n := len(r.runs) - 1; n > 0 {
		if last := &r.runs[n]; last.source == source && last.from+last.frames == frame {
			last.frames++
			return
		}
	}
	r.runs = append(r.runs, frameRun{source, frame, 1})
}

// append appends the record, of a segment with an id, to b.
func (r *batchRecord) append(b []byte, id *segmentID) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, batchMagic)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.runs)))
	group := r.group
	if r.confirmed {
		group |= batchConfirmed
	}
	b = binary.LittleEndian.AppendUint32(b, group)
	for _, run := range r.runs {
		b = binary.LittleEndian.AppendUint64(b, run.source)
		b = binary.LittleEndian.AppendUint32(b, run.from)
		b = binary.LittleEndian.AppendUint32(b, run.frames)
	}
	binary.LittleEndian.PutUint32(b[start+4:], batchChecksum(b[start:], id))
	return b
}

// decodeBatch reads the record at the beginning of b, and returns its size; 0 if there is none that
// is whole.
func decodeBatch(b []byte, id *segmentID) (r batchRecord, size int) {
	if len(b) < batchHeader || binary.LittleEndian.Uint32(b) != batchMagic {
		return batchRecord{}, 0
	}
	n := binary.LittleEndian.Uint32(b[8:])
	if n == 0 || uint64(len(b)) < batchHeader+uint64(n)*batchRun {
		return batchRecord{}, 0
	}
	size = batchHeader + int(n)*batchRun
	if binary.LittleEndian.Uint32(b[4:]) != batchChecksum(b[:size], id) {
		return batchRecord{}, 0
	}
	group := binary.LittleEndian.Uint32(b[12:])
	r = batchRecord{group: group &^ batchConfirmed, confirmed: group&batchConfirmed != 0}
	for at := batchHeader; at < size; at += batchRun {
		r.runs = append(r.runs, frameRun{
			binary.LittleEndian.Uint64(b[at:]), binary.LittleEndian.Uint32(b[at+8:]), binary.LittleEndian.Uint32(b[at+12:]),
		})
	}
	return r, size
}

func batchChecksum(record []byte, id *segmentID) uint32 {
	return crc32.Update(crc32.Checksum(id[:], castagnoli), castagnoli, record[8:])
}

// frameID identifies a frame of any segment.
type frameID struct {
	source uint64 // short id of the segment
	frame  uint32
}

// storedBatch is the frames that were sent to a group together, in their order. The first one names
// it.
type storedBatch struct {
	group     int
	confirmed bool // all of them are
	frames    []frameID
	known     map[frameID]bool // the same as a set
}

// maxBatchFrames is the most frames of a batch that Next puts together again.
const maxBatchFrames = maxFrames

// readBatches reads a file of batches, and returns those of the groups of the spool, and the size
// of the file as far as it is good.
func readBatches(file io.Reader, g *segment) (batches []*storedBatch, size int64, err error) {
	text, err := io.ReadAll(io.LimitReader(file, maxBatchFile+batchHeader+maxBatchFrames*batchRun))
	if err != nil {
		return nil, 0, err
	}
	type key struct {
		group     uint32
		confirmed bool
		name      frameID
	}
	named := map[key]*storedBatch{}
	for rest := text; ; {
		r, n := decodeBatch(rest, &g.header.id)
		if n == 0 {
			return batches, int64(len(text) - len(rest)), nil
		}
		rest = rest[n:]
		group := g.groupOf(r.group)
		if group < 0 {
			continue
		}
		k := key{r.group, r.confirmed, r.name()}
		b := named[k]
		if b == nil {
			b = &storedBatch{group: group, confirmed: r.confirmed, known: map[frameID]bool{}}
			named[k] = b
			batches = append(batches, b)
		}
		for f := range r.each() {
			if len(b.frames) == maxBatchFrames {
				break
			}
			b.add(f)
		}
	}
}

// add adds a frame unless the batch has it.
func (b *storedBatch) add(f frameID) {
	if !b.known[f] {
		b.known[f] = true
		b.frames = append(b.frames, f)
	}
}

// groupOf returns the index of a group of the segment's header in the spool; -1 if the spool does
// not have it.
func (g *segment) groupOf(inFile uint32) int {
	for group, f := range g.toFile {
		if f >= 0 && uint32(f) == inFile {
			return group
		}
	}
	return -1
}
