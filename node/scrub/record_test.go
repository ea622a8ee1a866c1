package scrub

import (
	"testing"

	"github.com/datanode/datanode/raftlog/state"
)

// A record of the scrub is read as it was written, and nothing else is.
func TestScrubRecord(t *testing.T) {
	r := newRecord()
	r.began, r.full, r.log = 3, 2, 1
	for i := range state.ExtentID(100) {
		r.verified[i*7+1] = int64(i) + 1_000_000
	}
	p := appendRecord(nil, r)
	got, err := parseRecord(p)
	if err != nil || got.began != 3 || got.full != 2 || got.log != 1 ||
		len(got.verified) != 100 || got.verified[8] != 1_000_001 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range p {
		p[i] ^= 0x10
		if _, err := parseRecord(p); err == nil {
			t.Errorf("byte %d flipped, and not noticed", i)
		}
		p[i] ^= 0x10
		if _, err := parseRecord(p[:i]); err == nil {
			t.Errorf("cut to %d bytes, and not noticed", i)
		}
	}
}

// Dates that are still to come, because the clock was set back, keep nothing from being read.
func TestScrubDropsTheFuture(t *testing.T) {
	s := &Scrubber{record: newRecord()}
	s.record.began, s.record.full, s.record.log = 5, 200, 50
	s.record.verified[1], s.record.verified[2] = 99, 101
	s.dropFutureLocked(100)
	if r := s.record; r.began != 5 || r.full != 0 || r.log != 50 || len(r.verified) != 1 || r.verified[1] != 99 {
		t.Errorf("left at 100: %+v", r)
	}
}
