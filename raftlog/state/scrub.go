package state

import (
	"fmt"
	"math"
	"time"
)

const (
	keyScrubPace  = "scrub-pace"
	keyScrubPause = "scrub-pause"

	defaultScrubPace  = 8 << 20
	leastScrubPace    = 64 << 10
	mostScrubPace     = 1 << 40
	scrubOff          = math.MaxUint64 // of Settings.ScrubPace, where 0 is the default: cells that are older have it
	defaultScrubPause = time.Minute
)

// ScrubRate is how many bytes a second each node reads at most to look for rot; 0: none.
func (s *Settings) ScrubRate() uint64 {
	switch s.ScrubPace {
	case 0:
		return defaultScrubPace
	case scrubOff:
		return 0
	}
	return s.ScrubPace
}

// ScrubBreak is how long a node pauses after it has read all that it holds.
func (s *Settings) ScrubBreak() time.Duration {
	if s.ScrubPauseMicros == 0 {
		return defaultScrubPause
	}
	return s.ScrubPauseMicros.Duration()
}

// scrubTable is the settings of the scrub.
func scrubTable() []setting {
	pause := duration(keyScrubPause, "how long a node rests between two rounds of its scrub",
		func(s *Settings) *Micros { return &s.ScrubPauseMicros })
	pause.get = func(s *Settings) string { return s.ScrubBreak().String() }
	return []setting{{
		key: keyScrubPace, help: "bytes a second that each node reads of what it holds, to find rot nobody has read; " +
			"a quarter while clients are served; 0: none",
		get: func(s *Settings) string { return UnitsText(s.ScrubRate()) },
		set: func(s *Settings, v string) error {
			n, ok := parseUnits(v)
			switch {
			case ok && n == 0:
				n = scrubOff
			case !ok || n < leastScrubPace || n > mostScrubPace:
				return fmt.Errorf("%s must be 0, or a number of bytes a second from 64Ki to 1024Gi such as 8Mi, not %q",
					keyScrubPace, v)
			}
			s.ScrubPace = n
			return nil
		},
	}, pause}
}
