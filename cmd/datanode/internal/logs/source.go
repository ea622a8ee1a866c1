// Package logs reads a cell's operation log from wherever it is: from a node that runs, or from the folder of one that
// has stopped. It starts no goroutine; a source belongs to the goroutine of its command.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/folder"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// Range is a part of a log: the entries from From to To, both included. From 0 is the first that there is, To 0 the
// last. Reverse has the last come first.
type Range struct {
	From, To uint64
	Reverse  bool
}

// Source is a log that can be read.
type Source interface {
	// Entries are the entries of a range. After an error there is nothing more; what cannot be read is no error but an
	// entry that says so.
	Entries(ctx context.Context, r Range) iter.Seq2[Entry, error]
	// Verify reads all of the log again. What is wrong with it is in the answer.
	Verify(ctx context.Context) (wire.LogVerifyReply, error)
}

// Entry is one entry of a log.
type Entry struct {
	told wire.LogEntry // as a node told it, if one did
	read *raftlog.EntryInfo
}

// Wire is the entry as nodes tell it.
func (e Entry) Wire() wire.LogEntry {
	if e.read == nil {
		return e.told
	}
	return describe.Entry(*e.read)
}

// listed is Wire, where of a stored log the whole of each command is left out.
func (e Entry) listed() wire.LogEntry {
	if e.read == nil {
		return e.told
	}
	return describe.Listed(*e.read)
}

// Index is the entry's index.
func (e Entry) Index() uint64 {
	if e.read == nil {
		return e.told.Index
	}
	return uint64(e.read.Index)
}

// Node is the log of a node that runs.
type Node struct {
	Client *client.Client
	ID     string // empty: whichever node answers
}

// Entries are those that the node has applied.
func (n Node) Entries(ctx context.Context, r Range) iter.Seq2[Entry, error] {
	entries := n.Client.LogRange(ctx, n.ID, r.From, r.To)
	if r.Reverse {
		entries = n.backwards(ctx, r)
	}
	return func(yield func(Entry, error) bool) {
		for e, err := range entries {
			if !yield(Entry{told: e}, err) {
				return
			}
		}
	}
}

// backwards asks for the last page of what is left, until nothing is.
func (n Node) backwards(ctx context.Context, r Range) iter.Seq2[wire.LogEntry, error] {
	return func(yield func(wire.LogEntry, error) bool) {
		node, to := n.ID, r.To
		for {
			reply, err := n.Client.LogEntries(ctx, wire.LogRequest{Node: node, To: to})
			if err != nil {
				yield(wire.LogEntry{}, err)
				return
			}
			node = reply.Node // the next page from the same log
			for i := len(reply.Entries) - 1; i >= 0; i-- {
				if e := reply.Entries[i]; e.Index < r.From || !yield(e, nil) {
					return
				}
			}
			if len(reply.Entries) == 0 || reply.Entries[0].Index <= max(reply.First, 1) {
				return
			}
			to = reply.Entries[0].Index - 1
		}
	}
}

// Verify has the node read its log again.
func (n Node) Verify(ctx context.Context) (wire.LogVerifyReply, error) {
	return n.Client.LogVerify(ctx, n.ID)
}

// Folder is the log in the data folder of a node that has stopped.
type Folder struct {
	*raftlog.Stored
	Name string // as it was named
}

// OpenFolder opens the log in dir, the data folder of a node or that of the log in it. The error is for the person who
// named it.
func OpenFolder(dir string) (*Folder, error) {
	path := filepath.Join(dir, folder.Log)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		path = dir
	}
	s, err := raftlog.OpenStored(path)
	var used *raftlog.InUseError
	switch {
	case errors.As(err, &used):
		return nil, exit.With(exit.Refused, "--dir %s: %w; ask the node itself: the same command with --addr HOST:PORT "+
			"instead of --dir", dir, err)
	case errors.Is(err, fs.ErrNotExist):
		return nil, exit.With(exit.NotFound, "--dir %s: there is no log of a node in it; name the folder that was its "+
			"--dir", dir)
	case err != nil && exit.Code(context.Background(), err) == exit.Corrupt:
		return nil, exit.With(exit.Corrupt, "--dir %s: %w", dir, err)
	case err != nil:
		return nil, exit.With(exit.Failed, "--dir %s: %w", dir, err)
	}
	return &Folder{Stored: s, Name: dir}, nil
}

// Entries are those in the folder, also the last ones that may never have been agreed on.
func (f *Folder) Entries(ctx context.Context, r Range) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e := range f.Stored.Entries(state.Index(r.From), state.Index(r.To), r.Reverse) {
			if ctx.Err() != nil {
				yield(Entry{}, ctx.Err())
				return
			}
			if !yield(Entry{read: &e}, nil) {
				return
			}
		}
	}
}

// Verify reads all of the log again.
func (f *Folder) Verify(ctx context.Context) (wire.LogVerifyReply, error) {
	report, err := f.Stored.Verify(ctx)
	if err != nil {
		return wire.LogVerifyReply{}, err
	}
	out := describe.Verified(report)
	out.Node = f.Name
	return out, nil
}

// Chain is the chain at an index, 0: at the last entry that the node is known to have applied.
func (f *Folder) Chain(index uint64) (wire.LogChainReply, error) {
	at := state.Index(index)
	if at == 0 {
		at = f.Applied.Index
	}
	if at == 0 {
		at = f.Last
	}
	point, first, err := f.ChainAt(at)
	return wire.LogChainReply{Node: f.Name, Index: uint64(point.Index), First: uint64(first),
		Chain: fmt.Sprintf("%x", point.Hash)}, err
}
