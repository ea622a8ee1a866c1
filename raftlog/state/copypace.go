package state

import "fmt"

const (
	keyCopyPace   = "copy-pace"
	leastCopyPace = 64 << 10
	mostCopyPace  = 1 << 40
)

// copyPace is the setting of how fast repairs and moves copy.
func copyPace() setting {
	return setting{
		key: keyCopyPace, help: "bytes a second that all repairs and moves of the cell copy together; 0: no limit",
		get: func(s *Settings) string { return UnitsText(s.CopyPace) },
		set: func(s *Settings, v string) error {
			n, ok := parseUnits(v)
			if !ok || n != 0 && n < leastCopyPace || n > mostCopyPace {
				return fmt.Errorf("%s must be 0, or a number of bytes a second from 64Ki to 1024Gi such as 50Mi, not %q",
					keyCopyPace, v)
			}
			s.CopyPace = n
			return nil
		},
	}
}
