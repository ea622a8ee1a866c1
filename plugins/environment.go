package plugins

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
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
// call, but for the cell's time, so that an answer depends on nothing else.
type environment struct {
	module    *Module
	nowMicros int64
	random    *rand.ChaCha8
	stderr    bytes.Buffer // Invariant: at most maxStderrBytes
	lines     int          // logged in this call
	adds      map[string]int64
}

// begin resets the environment for a call made at the cell's time.
func (e *environment) begin(m *Module, nowMicros int64) {
	e.module, e.nowMicros, e.lines = m, nowMicros, 0
	e.random = nil
	e.stderr.Reset()
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

func (e *environment) log(level slog.Level, msg string, text []byte) {
	e.module.host.opts.Logger.LogAttrs(context.Background(), level, msg,
		slog.String("policy", e.module.info.Name),
		slog.String("digest", e.module.info.Digest),
		slog.String("text", printable(string(text))))
}

// lastWords is what the guest wrote to stderr in this call, for the error about its end.
func (e *environment) lastWords() string {
	line, _, _ := bytes.Cut(e.stderr.Bytes(), []byte("\n"))
	if len(line) == 0 {
		return ""
	}
	return " (" + printable(string(line[:min(len(line), maxDetailBytes)])) + ")"
}

// configure points WASI at the environment: the wall clock stands still at the cell's time, random
// bytes come from a fixed seed, stdout is discarded, and there is nothing to open. The monotonic
// clock never moves at all: it must not go back between calls, and must not be 0 for Go.
func (e *environment) configure(c wazero.ModuleConfig) wazero.ModuleConfig {
	return c.
		WithWalltime(func() (sec int64, nsec int32) {
			now := max(e.nowMicros, 0)
			return now / 1e6, int32(now % 1e6 * 1000)
		}, 1000).
		WithNanotime(func() int64 { return 1 }, 1).
		WithRandSource(randomReader{e}).
		WithStdout(io.Discard).
		WithStderr(stderrWriter{e})
}

// randomReader starts over with each call, so that an instance cannot tell how many came before.
type randomReader struct{ env *environment }

func (r randomReader) Read(p []byte) (int, error) {
	if r.env.random == nil {
		r.env.random = rand.NewChaCha8([32]byte{'d', 'a', 't', 'a', 'n', 'o', 'd', 'e'})
	}
	return r.env.random.Read(p)
}

// stderrWriter keeps the beginning of what is written in a call and takes the rest in silence.
type stderrWriter struct{ env *environment }

func (w stderrWriter) Write(p []byte) (int, error) {
	room := maxStderrBytes - w.env.stderr.Len()
	w.env.stderr.Write(p[:min(len(p), room)])
	return len(p), nil
}

// instanceKey is the context key under which a host function finds the instance that calls it.
type instanceKey struct{}

func callerOf(ctx context.Context) *instance { return ctx.Value(instanceKey{}).(*instance) }

// hostLog is datanode.log(ptr, len).
func hostLog(ctx context.Context, guest api.Module, at, n uint32) {
	e := &callerOf(ctx).env
	text, ok := guest.Memory().Read(at, min(n, maxLogBytes))
	if e.lines++; ok && e.lines <= maxLogLines {
		e.log(slog.LevelInfo, "policy says", text)
	}
}

// configAbsent is what config_get answers for a key without a value.
const configAbsent = 0xffffffff

// hostConfigGet is datanode.config_get(keyptr, keylen, outptr, outcap) -> len. It writes as much of
// the value as there is room for and answers how long the value is.
func hostConfigGet(ctx context.Context, guest api.Module, keyAt, keyLen, out, room uint32) uint32 {
	key, ok := guest.Memory().Read(keyAt, min(keyLen, maxKeyBytes+1))
	if !ok || len(key) > maxKeyBytes {
		return configAbsent
	}
	value, ok := callerOf(ctx).module.config[string(key)]
	if !ok || !guest.Memory().WriteString(out, value[:min(len(value), int(room))]) {
		return configAbsent
	}
	return uint32(len(value))
}

// hostCounterAdd is datanode.counter_add(nameptr, namelen, delta).
func hostCounterAdd(ctx context.Context, guest api.Module, at, n uint32, delta int64) {
	e := &callerOf(ctx).env
	name, ok := guest.Memory().Read(at, min(n, maxKeyBytes+1))
	if !ok || len(name) == 0 || len(name) > maxKeyBytes {
		return
	}
	if _, known := e.adds[string(name)]; !known && len(e.adds) >= maxCounters {
		return
	}
	if e.adds == nil {
		e.adds = map[string]int64{}
	}
	e.adds[printable(string(name))] += delta
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
