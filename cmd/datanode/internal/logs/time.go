package logs

import (
	"fmt"
	"time"
)

// ParseTime reads a moment as people type it: how long ago ("2h", "15m"), or a time in RFC 3339, with or without what
// comes after the day. Empty is the zero time.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04",
		"2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time; want how long ago, such as 2h or 15m, or 2026-11-30T04:05:06Z", s)
}
