package cli

import (
	"io"
	"log/slog"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/spf13/cobra"
)

// LogFlags say what a node logs, and how.
type LogFlags struct{ Level, Format string }

// LogOff is a level at which nothing is logged.
const LogOff = "OFF"

// Add adds the flags to a command; level is the default.
func (l *LogFlags) Add(cmd *cobra.Command, level string) {
	cmd.Flags().StringVar(&l.Level, "log-level", level, "DEBUG, INFO, WARN, ERROR or OFF")
	cmd.Flags().StringVar(&l.Format, "log-format", "text", "text or json")
}

// Logger is a logger as the flags say.
func (l *LogFlags) Logger(out io.Writer) (*slog.Logger, error) {
	if l.Level == LogOff {
		return slog.New(slog.DiscardHandler), nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return nil, exit.Usagef("--log-level %q: want DEBUG, INFO, WARN, ERROR or OFF", l.Level)
	}
	o := &slog.HandlerOptions{Level: level}
	switch l.Format {
	case "text":
		return slog.New(slog.NewTextHandler(out, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, o)), nil
	}
	return nil, exit.Usagef("--log-format %q: want text or json", l.Format)
}
