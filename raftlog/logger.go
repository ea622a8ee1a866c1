package raftlog

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// newEngineLogger passes the engine's log on to l. What it calls information is detail to us.
func newEngineLogger(l *slog.Logger) hclog.Logger {
	h := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Debug, Output: io.Discard})
	h.RegisterSink(sink{l})
	return h
}

// sink is where hclog leaves its records.
type sink struct{ log *slog.Logger }

func (s sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch {
	case level >= hclog.Error:
		to = slog.LevelError
	case level == hclog.Warn:
		to = slog.LevelWarn
	case level < hclog.Info:
		to = slog.LevelDebug - 4
	}
	ctx := context.Background()
	if !s.log.Enabled(ctx, to) {
		return
	}
	if len(args)%2 == 1 {
		args = append(args[:len(args):len(args)], "")
	}
	s.log.Log(ctx, to, msg, append([]any{"part", name}, args...)...)
}
