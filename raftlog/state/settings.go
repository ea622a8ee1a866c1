package state

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Settings are the replicated limits and delays of a cell. Durations are microseconds of the cell's time.
type Settings struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Replicas          uint8  // asked for where a create does not say
	RepairDelayMicros Micros // a node that is down for longer gets its extents repaired elsewhere
	LeaseMicros       Micros // an executor that was not heard of for longer loses its attempt
	BackoffMicros     Micros // before the second attempt; doubles with each further one
	MaxAttempts       uint8
	CopiesPerSource   uint16 // running repairs and moves
	CopiesPerTarget   uint16
	MaxRunning        uint16 // running operations in the cell

	// What policies may do, in units of metered work; see Budget.
	PolicyBatchBudget  uint64
	PolicyRecordBudget uint64
	PolicyStartBudget  uint64

	DiskReserve uint64 // bytes of each node's disk that extents leave free; 0: as many as suit the disk
	MinReplicas uint8  // on how many disks a put is at least; 0: half of the replicas wanted, rounded up. See Least

	ScrubPace        uint64 // see ScrubRate
	ScrubPauseMicros Micros // see ScrubBreak

	QuietWindows string  // as ParseWindows reads them
	Serial       KindSet // see SerialKinds

	Quotas []Quota // in order, no two of the same. Never written to

	CopyPace uint64 // bytes a second that the copies of the cell take together; 0: no limit

	MaxWaitMicros Micros // see MaxWait

	Balance BalanceWhen

	DeleteGraceMicros Micros // of a delete that does not say; 0: none
}

// DefaultSettings are those of a new cell.
func DefaultSettings() Settings {
	return Settings{
		Replicas:          3,
		RepairDelayMicros: micros(10 * time.Minute),
		LeaseMicros:       micros(30 * time.Second),
		BackoffMicros:     micros(250 * time.Millisecond),
		MaxAttempts:       8,
		CopiesPerSource:   4,
		CopiesPerTarget:   4,
		MaxRunning:        256,

		PolicyBatchBudget:  32 << 20,
		PolicyRecordBudget: 32 << 10,
		PolicyStartBudget:  256 << 20,
	}
}

func micros(d time.Duration) Micros { return Micros(d.Microseconds()) }

// Duration is m as a duration.
func (m Micros) Duration() time.Duration { return time.Duration(m) * time.Microsecond }

// Time is m as a moment.
func (m Micros) Time() time.Time { return time.UnixMicro(int64(m)) }

// setting is how one setting is written and read as text.
type setting struct {
	key  string
	get  func(*Settings) string
	set  func(*Settings, string) error
	help string
}

func settingTable() []setting {
	return slices.Concat([]setting{
		number("replicas", "replicas of a new extent", 1, maxReplicas, func(s *Settings) *uint8 { return &s.Replicas }),
		leastReplicas(),
		duration("repair-delay", "how long a node is down before its extents are repaired elsewhere",
			func(s *Settings) *Micros { return &s.RepairDelayMicros }),
		duration("lease", "how long a silent executor keeps its operation",
			func(s *Settings) *Micros { return &s.LeaseMicros }),
		duration("backoff", "pause before a second attempt; doubles", func(s *Settings) *Micros { return &s.BackoffMicros }),
		number("max-attempts", "attempts before an operation fails", 1, 100,
			func(s *Settings) *uint8 { return &s.MaxAttempts }),
		number("copies-per-source", "running repairs and moves that read from one node", 1, 1000,
			func(s *Settings) *uint16 { return &s.CopiesPerSource }),
		number("copies-per-target", "running repairs and moves that write to one node", 1, 1000,
			func(s *Settings) *uint16 { return &s.CopiesPerTarget }),
		number("max-running", "running operations in the cell", 1, 10000, func(s *Settings) *uint16 { return &s.MaxRunning }),
		maxWait(), copyPace(), balance(), reserve(), deleteGrace(),
		quietWindows(), serial(), quotas(),
	}, scrubTable(), budgetTable())
}

func number[T ~uint8 | ~uint16](key, help string, low, high uint64, field func(*Settings) *T) setting {
	return setting{
		key: key, help: help,
		get: func(s *Settings) string { return strconv.FormatUint(uint64(*field(s)), 10) },
		set: func(s *Settings, v string) error {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil || n < low || n > high {
				return fmt.Errorf("%s must be a number from %d to %d, not %q", key, low, high, v)
			}
			*field(s) = T(n)
			return nil
		},
	}
}

const (
	keyDiskReserve   = "disk-reserve"
	reserveByDisk    = "auto"
	leastDiskReserve = 1 << 20
	mostDiskReserve  = 1 << 40
)

// reserve is a setting in bytes, or left to the size of each disk.
func reserve() setting {
	return setting{
		key: keyDiskReserve, help: "bytes of each disk that extents leave to the log and to deletes; " +
			"auto: a twentieth, 4Mi to 256Mi",
		get: func(s *Settings) string {
			if s.DiskReserve == 0 {
				return reserveByDisk
			}
			return UnitsText(s.DiskReserve)
		},
		set: func(s *Settings, v string) error {
			n, ok := parseUnits(v)
			if v == reserveByDisk {
				n, ok = 0, true
			} else if n < leastDiskReserve || n > mostDiskReserve {
				ok = false
			}
			if !ok {
				return fmt.Errorf("%s must be auto, or a number of bytes from 1Mi to 1024Gi such as 512Mi, not %q", keyDiskReserve,
					v)
			}
			s.DiskReserve = n
			return nil
		},
	}
}

func duration(key, help string, field func(*Settings) *Micros) setting {
	return setting{
		key: key, help: help,
		get: func(s *Settings) string { return field(s).Duration().String() },
		set: func(s *Settings, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil || d < time.Millisecond || d > 30*24*time.Hour {
				return fmt.Errorf("%s must be a duration from 1ms to 720h, such as 90s, not %q", key, v)
			}
			*field(s) = micros(d)
			return nil
		},
	}
}

// With is s with one setting changed. The error names what is allowed.
func (s Settings) With(key, value string) (Settings, error) {
	for _, t := range settingTable() {
		if t.key == key {
			err := t.set(&s, value)
			return s, err
		}
	}
	return s, fmt.Errorf("there is no setting %q", key)
}

// Each goes through the settings as text: key, value and what it is for.
func (s Settings) Each(yield func(key, value, help string)) {
	for _, t := range settingTable() {
		yield(t.key, t.get(&s), t.help)
	}
}
