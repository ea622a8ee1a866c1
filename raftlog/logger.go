package raftlog

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"

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
	if slices.ContainsFunc(args, closedHere) || msg == "failed to get previous log" { // of every node that is behind
		to = slog.LevelDebug
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

// closedHere says that an argument is the error of a connection or listener that this node has closed
// itself: what the engine complains of while it stops is no fault.
func closedHere(arg any) bool {
	err, ok := arg.(error)
	return ok && errors.Is(err, net.ErrClosed)
}
