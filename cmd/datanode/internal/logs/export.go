package logs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/wire"
)

// schema is the version of the format of an export; docs/log-export.md has it.
const schema = 1

// exportHead is the first line of an export.
type exportHead struct {
	Schema   int    `json:"datanode_log"`
	From     string `json:"from"` // a node, or a folder
	Exported string `json:"exported"`
}

// exportEnd is the last line, by which one knows that it is whole.
type exportEnd struct {
	Entries *int `json:"entries"`
}

// exported is a line of an export: an entry with its commands in full.
type exported struct {
	wire.LogEntry
	Commands []exportedCommand `json:"commands"`
}

type exportedCommand struct {
	wire.LogCommand
	Full json.RawMessage `json:"command"`
}

// Export writes entries as JSON Lines.
func Export(to io.Writer, from string, now time.Time, entries iter.Seq2[wire.LogEntry, error]) error {
	out := bufio.NewWriter(to)
	lines := json.NewEncoder(out) // an error of out stays in it until Flush
	lines.SetEscapeHTML(false)
	if err := lines.Encode(exportHead{schema, from, now.UTC().Format(time.RFC3339)}); err != nil {
		return err
	}
	n := 0
	for e, err := range entries {
		if err != nil {
			return err
		}
		line := exported{LogEntry: e, Commands: []exportedCommand{}}
		for _, c := range e.Commands {
			full := json.RawMessage(c.JSON)
			if !json.Valid(full) {
				full = json.RawMessage("null")
			}
			line.Commands = append(line.Commands, exportedCommand{c, full})
		}
		if err := lines.Encode(line); err != nil {
			return err
		}
		n++
	}
	if err := lines.Encode(exportEnd{&n}); err != nil {
		return err
	}
	return out.Flush()
}

// File is a log that was exported.
type File struct{ Path string }

// OpenFile looks at the first line of an export. The error is for the person who named it.
func OpenFile(path string) (*File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit.With(exit.NotFound, "--file: %w", err)
	}
	if err != nil {
		return nil, exit.With(exit.Failed, "--file: %w", err)
	}
	defer f.Close()
	lines := newLines(f)
	var head exportHead
	switch line, err := lines.next(); {
	case err != nil || json.Unmarshal(line, &head) != nil || head.Schema == 0:
		return nil, exit.With(exit.Corrupt,
			"--file %s: its first line is not that of an export; datanode log export makes one", path)
	case head.Schema > schema:
		return nil, exit.With(exit.Refused,
			"--file %s: it is of version %d, and this program reads up to %d; use a newer one", path, head.Schema, schema)
	}
	return &File{path}, nil
}

// lines reads a line after the other, of any length up to a bound.
type lines struct{ s *bufio.Scanner }

const maxExportLine = 64 << 20

func newLines(r io.Reader) lines {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxExportLine)
	return lines{s}
}

func (l lines) next() ([]byte, error) {
	if l.s.Scan() {
		return l.s.Bytes(), nil
	}
	if err := l.s.Err(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

// Entries are those in the file. One that is cut, or has a line that cannot be read, is an error after those before it.
func (f *File) Entries(ctx context.Context, r Range) iter.Seq2[Entry, error] {
	if r.Reverse {
		return f.backwards(ctx, r)
	}
	return func(yield func(Entry, error) bool) {
		in, err := os.Open(f.Path)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer in.Close()
		all := newLines(in)
		for n := 1; ; n++ {
			line, err := all.next()
			if err == nil && ctx.Err() != nil {
				err = ctx.Err()
			}
			if errors.Is(err, io.EOF) {
				err = exit.With(exit.Corrupt, "%s is cut after line %d: its last line is missing", f.Path, n-1)
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if n == 1 {
				continue
			}
			e, end, err := parseLine(line)
			if err != nil {
				err = exit.With(exit.Corrupt, "%s, line %d: %w", f.Path, n, err)
			}
			if end || err == nil && (e.Index() < r.From || r.To != 0 && e.Index() > r.To) {
				if end {
					return
				}
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// backwards holds all entries of the range: lines have no index.
func (f *File) backwards(ctx context.Context, r Range) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var all []Entry
		for e, err := range f.Entries(ctx, Range{From: r.From, To: r.To}) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			all = append(all, e)
		}
		for i := len(all) - 1; i >= 0; i-- {
			if !yield(all[i], nil) {
				return
			}
		}
	}
}

// parseLine reads an entry, or finds that the line is the last one.
func parseLine(line []byte) (e Entry, end bool, err error) {
	if bytes.HasPrefix(line, []byte(`{"entries":`)) {
		return Entry{}, true, nil
	}
	var x exported
	if err := json.Unmarshal(line, &x); err != nil {
		return Entry{}, false, err
	}
	if x.Index == 0 {
		return Entry{}, false, errors.New("it has no index")
	}
	x.LogEntry.Commands = make([]wire.LogCommand, len(x.Commands))
	for i, c := range x.Commands {
		x.LogEntry.Commands[i] = c.LogCommand
		x.LogEntry.Commands[i].JSON = c.Full
	}
	return Entry{told: x.LogEntry}, false, nil
}

// Verify looks whether the file is whole and its entries in order. There are no checksums in it.
func (f *File) Verify(ctx context.Context) (wire.LogVerifyReply, error) {
	out := wire.LogVerifyReply{Node: f.Path, OK: true}
	term := uint64(0)
	for e, err := range f.Entries(ctx, Range{}) {
		if err == nil && e.Index() <= out.Last {
			err = exit.With(exit.Corrupt, "entry %d follows entry %d", e.Index(), out.Last)
		}
		if err == nil && e.told.Term < term {
			err = exit.With(exit.Corrupt, "entry %d is of term %d, and the one before of term %d", e.Index(), e.told.Term, term)
		}
		if err != nil {
			if ctx.Err() != nil {
				return out, err
			}
			out.OK, out.Detail = false, err.Error()
			return out, nil
		}
		if out.Entries++; out.First == 0 {
			out.First = e.Index()
		}
		out.Last, term = e.Index(), max(term, e.told.Term)
	}
	return out, nil
}
