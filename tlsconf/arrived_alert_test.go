//go:build unix

package tlsconf

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"time"
)

// crypto/tls reads on when an alert begins behind the data that it has decrypted (TLS 1.2). Where
// the rest of the alert had not arrived, data came with the error that says so, and was thrown
// away; or the read waited for the rest of the alert with the data in hand.
func TestDataDoesNotWaitForTheRestOfAnAlert(t *testing.T) {
	for name, tt := range map[string]struct {
		records int
		room    int // of the first read
	}{
		"one record":        {1, 64 << 10},
		"two records":       {2, 64 << 10},
		"read in two parts": {1, 300},
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version uint16) {
				for split := 1; split < 8; split++ {
					testDataBeforeHalfAnAlert(t, version, tt.records, tt.room, split)
				}
			})
		})
	}
}

// testDataBeforeHalfAnAlert sends data and the first split bytes of close_notify, and the rest once
// the data has come.
func testDataBeforeHalfAnAlert(t *testing.T, version uint16, records, room, split int) {
	r := newArrivalRig(t, version)
	sent, size := random(1000), split
	for part := range slices.Chunk(sent, len(sent)/records) {
		size += r.write(t, part)
	}
	must(t, r.client.CloseWrite())
	r.wire.hand(t, size)
	r.arrive(t, size)
	r.below.Conn.SetDeadline(time.Now().Add(patience / 4)) // ends a read that waits for more
	var got []byte
	for p := make([]byte, room); len(got) < len(sent); p = make([]byte, 64<<10) {
		n, err := r.below.ReadArrived(r.server, p)
		got = append(got, p[:n]...)
		if err != nil {
			t.Fatalf("%d bytes of close_notify: %d bytes of %d, err %v", split, len(got), len(sent), err)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of close_notify: other data", split)
	}
	r.wire.hand(t, r.wire.held.Len())
	if n, err := r.below.ReadArrived(r.server, make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind close_notify: %d bytes, err %v", n, err)
	}
}
