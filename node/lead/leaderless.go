package lead

import (
	"sync"
	"time"
)

// leaderless is since when this node has known no leader; it is asked once a heartbeat.
type leaderless struct {
	mu    sync.Mutex
	since time.Time // Guarded by mu. Zero: it knows one.
}

func (l *leaderless) note(led bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case led:
		l.since = time.Time{}
	case l.since.IsZero():
		l.since = now
	}
}

// at is that moment; now if it was not noted yet.
func (l *leaderless) at(now time.Time) time.Time {
	l.note(false, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since
}
