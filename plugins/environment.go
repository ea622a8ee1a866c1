package plugins

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Bounds of what one call may say.
const (
	maxLogLines    = 8
	maxLogBytes    = 512
	maxStderrBytes = 2048
	maxKeyBytes    = 64
	maxCounters    = 64
)

// environment is all that an instance sees of the world. It is the same at the beginning of every
// call, but for the cell's time, so that an answer depends on nothing else. It belongs to the call
// that runs, or to the goroutine of one that was given up.
type environment struct {
	module    *Module
	nowMicros int64
	random    *rand.ChaCha8
	stderr    bytes.Buffer // Invariant: at most maxStderrBytes
	said      []byte       // the last line logged in this call, for the error about its end
	lines     int          // logged in this call
	adds      map[string]int64
}

// begin resets the environment for a call made at the cell's time.
func (e *environment) begin(m *Module, nowMicros int64) {
	e.module, e.nowMicros, e.lines = m, nowMicros, 0
	e.random = nil
	e.stderr.Reset()
	e.said = e.said[:0]
	clear(e.adds)
}

// end passes on what the guest has said and counted.
func (e *environment) end() {
	if e.stderr.Len() > 0 {
		e.log(slog.LevelWarn, "policy wrote to stderr", e.stderr.Bytes())
	}
	if len(e.adds) > 0 {
		e.module.count(e.adds)
	}
}

// complain keeps the beginning of what is written to stderr in a call and takes the rest in silence.
func (e *environment) complain(text []byte) {
	room := maxStderrBytes - e.stderr.Len()
	e.stderr.Write(text[:min(len(text), room)])
}

// fillRandom starts over with each call.
func (e *environment) fillRandom(p []byte) {
	if e.random == nil {
		e.random = rand.NewChaCha8([32]byte{'d', 'a', 't', 'a', 'n', 'o', 'd', 'e'})
	}
	_, _ = e.random.Read(p) // cannot fail
}

// lastWords is what the guest wrote to stderr in this call, or logged last, for the error about its end.
func (e *environment) lastWords() string {
	line, _, _ := bytes.Cut(e.stderr.Bytes(), []byte("\n"))
	if len(line) == 0 {
		line = e.said
	}
	if len(line) == 0 {
		return ""
	}
	return " (" + printable(string(line[:min(len(line), maxDetailBytes)])) + ")"
}

func (e *environment) log(level slog.Level, msg string, text []byte) {
	m := e.module
	ok, dropped := m.chatter.allow(m.host.now())
	if dropped > 0 {
		m.host.opts.Logger.LogAttrs(context.Background(), slog.LevelWarn, "policy said more than is logged",
			slog.String("digest", m.info.Digest), slog.Int("dropped", dropped))
	}
	if !ok {
		return
	}
	m.host.opts.Logger.LogAttrs(context.Background(), level, msg,
		slog.String("policy", m.info.Name),
		slog.String("digest", m.info.Digest),
		slog.String("text", printable(string(text))))
}

// Of all instances of a module together, this many lines are logged in this time.
const (
	maxChatter    = 64
	chatterWindow = 10 * time.Second
)

// chatter bounds what a module writes to the node's log: the bounds of a call are no bound when
// there are a thousand calls a second.
type chatter struct {
	mu      sync.Mutex
	since   time.Time // Guarded by mu. When the window began.
	lines   int       // Guarded by mu. Logged in the window. Invariant: at most maxChatter.
	dropped int       // Guarded by mu. Not logged in the window.
}

// allow reports whether one more line may be logged, and, once a window is over, how many were not.
func (c *chatter) allow(now time.Time) (ok bool, dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.since) >= chatterWindow {
		dropped = c.dropped
		c.since, c.lines, c.dropped = now, 0, 0
	}
	if c.lines >= maxChatter {
		c.dropped++
		return false, dropped
	}
	c.lines++
	return true, dropped
}

// forget begins to count anew.
func (m *Module) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.counters)
}

func (m *Module) count(adds map[string]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, delta := range adds {
		if _, known := m.counters[name]; known || len(m.counters) < maxCounters {
			m.counters[name] += delta
		}
	}
}
