// Package term is what a command says to a person or to a script: tables, descriptions and JSON on stdout, notes and
// a progress bar on stderr; and how it reads files and stdin.
//
// Nothing that others wrote reaches a terminal as it is: see Printable. A Terminal belongs to the goroutine of its
// command. A read of stdin runs in a goroutine of its own, since only the end of the program can interrupt it; a bar is
// drawn by one that ends with Progress.End.
package term

import (
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/term"
)

// Terminal is the streams that a command has, and how it writes to them. Its methods are for the goroutine of the
// command; Note may be called from any.
type Terminal struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Output         string // one of the formats

	moved atomic.Int64             // when a bar last moved, in nanoseconds since 1970
	bar   atomic.Pointer[Progress] // that is shown now; nil for none
}

// The formats of what goes to stdout.
const (
	FormatTable = "table"
	FormatJSON  = "json"
	FormatLines = "jsonl"
)

// Note tells the person something. It is never data. A stderr that cannot be written to is no reason
// to fail.
func (t *Terminal) Note(format string, args ...any) {
	_, _ = io.WriteString(t.Stderr, Printf(printableLines, format+"\n", args...))
}

// IsTerminal reports whether a stream is one that a person sits at.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
