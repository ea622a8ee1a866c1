package state

import (
	"strings"
	"time"
)

const (
	keyMaxWait     = "max-wait"
	maxWaitUnsaid  = "auto" // takes it back to its default
	maxWaitDefault = 24 * time.Hour
)

// MaxWait is how long an operation waits at the priority that the policy gives it. After that it comes by its age.
func (s *Settings) MaxWait() Micros {
	if s.MaxWaitMicros == 0 { // as in settings that are older than this one
		return micros(maxWaitDefault)
	}
	return s.MaxWaitMicros
}

func maxWait() setting {
	d := duration(keyMaxWait, "how long an operation waits by its priority; after that half of all places go by age, "+
		"the oldest first; auto: 24h", func(s *Settings) *Micros { return &s.MaxWaitMicros })
	byText := d.set
	d.get = func(s *Settings) string { return s.MaxWait().Duration().String() }
	d.set = func(s *Settings, v string) error {
		if strings.TrimSpace(v) == maxWaitUnsaid {
			s.MaxWaitMicros = 0
			return nil
		}
		return byText(s, v)
	}
	return d
}
