package state

import (
	"fmt"
	"strconv"
)

const (
	keyMinReplicas = "min-replicas"
	halfReplicas   = "auto" // takes min-replicas back to its default
)

// Least is on how many disks an extent that wants so many replicas must be to be written to. One with fewer would
// acknowledge what the loss of a disk or two undoes.
func (s *Settings) Least(want uint8) int {
	if s.MinReplicas == 0 {
		return (int(want) + 1) / 2
	}
	return int(min(s.MinReplicas, want))
}

// leastReplicas is the setting that by default follows another.
func leastReplicas() setting {
	return setting{
		key: keyMinReplicas, help: "disks that a put must be on, or it is refused; auto: half of replicas, rounded up",
		get: func(s *Settings) string { return strconv.Itoa(s.Least(s.Replicas)) },
		set: func(s *Settings, v string) error {
			if v == halfReplicas {
				s.MinReplicas = 0
				return nil
			}
			n, err := strconv.ParseUint(v, 10, 8)
			if err != nil || n < 1 || n > uint64(s.Replicas) {
				return fmt.Errorf("%s must be %s, or a number from 1 to %d, which is what replicas is, not %q",
					keyMinReplicas, halfReplicas, s.Replicas, v)
			}
			s.MinReplicas = uint8(n)
			return nil
		},
	}
}
