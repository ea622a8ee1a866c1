package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// logFlags say what a node logs, and how.
type logFlags struct{ level, format string }

// logOff is a level at which nothing is logged.
const logOff = "OFF"

func (l *logFlags) add(cmd *cobra.Command, level string) {
	cmd.Flags().StringVar(&l.level, "log-level", level, "DEBUG, INFO, WARN, ERROR or OFF")
	cmd.Flags().StringVar(&l.format, "log-format", "text", "text or json")
}

func (l *logFlags) logger(out io.Writer) (*slog.Logger, error) {
	if l.level == logOff {
		return slog.New(slog.DiscardHandler), nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, usagef("--log-level %q: want DEBUG, INFO, WARN, ERROR or OFF", l.level)
	}
	o := &slog.HandlerOptions{Level: level}
	switch l.format {
	case "text":
		return slog.New(slog.NewTextHandler(out, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, o)), nil
	}
	return nil, usagef("--log-format %q: want text or json", l.format)
}
