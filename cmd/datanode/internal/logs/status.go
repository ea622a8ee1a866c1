package logs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/datanode/datanode/node/folder"
	"github.com/datanode/datanode/wire"
)

// Status is a log in one screen.
type Status struct {
	Node          string   `json:"node"`
	Term          uint64   `json:"term"`
	VotedFor      string   `json:"voted_for,omitempty"` // in VotedTerm
	VotedTerm     uint64   `json:"voted_term,omitempty"`
	First         uint64   `json:"first"`
	Last          uint64   `json:"last"`
	Applied       uint64   `json:"applied"`
	Snapshots     []string `json:"snapshots"` // those that are sound, oldest first
	Voters        []string `json:"voters"`
	Chain         string   `json:"chain"` // hex, at Applied
	Bytes         int64    `json:"bytes,omitempty"`
	FreeBytes     int64    `json:"free_bytes,omitempty"`
	EntriesPerDay float64  `json:"entries_per_day,omitempty"`
	OK            bool     `json:"ok"`
	Detail        string   `json:"detail,omitempty"` // what is damaged, or what keeps the node from voting
}

// ReadStatus is the state of a log, of which all is read.
func ReadStatus(ctx context.Context, s Source) (Status, error) {
	verified, err := s.Verify(ctx)
	if err != nil {
		return Status{}, err
	}
	out := Status{Node: verified.Node, First: verified.First, Last: verified.Last, Chain: verified.Chain, OK: verified.OK,
		Detail: verified.Detail}
	switch s := s.(type) {
	case *Folder:
		s.status(&out)
	case Node:
		if err := s.status(ctx, &out); err != nil {
			return out, err
		}
	}
	out.EntriesPerDay, err = entriesPerDay(ctx, s, out.First, out.Last)
	return out, err
}

// status fills in what only a folder tells.
func (f *Folder) status(out *Status) {
	out.Node = nodeOf(f.Dir(), f.Name)
	out.First, out.Last = uint64(f.First), uint64(f.Last)
	out.Applied = uint64(f.Applied.Index)
	if f.Applied.Index != 0 {
		out.Chain = fmt.Sprintf("%x", f.Applied.Hash)
	}
	for _, snap := range f.Snapshots {
		if snap.Err == nil {
			out.Snapshots = append(out.Snapshots, snap.ID)
		}
	}
	vote, err := f.Vote()
	if err == nil {
		out.Term, out.VotedFor, out.VotedTerm, out.Voters = vote.Term, vote.VotedFor, vote.VotedTerm, vote.Voters
		if vote.Abstains != nil && out.OK {
			out.Detail = fmt.Sprintf("the node has no vote since %s: %s", vote.Abstains.Since, vote.Abstains.Why)
		}
	}
	var roomErr error
	out.Bytes, out.FreeBytes, roomErr = f.Room()
	for _, err := range []error{err, roomErr} {
		if err != nil && out.OK {
			out.OK, out.Detail = false, err.Error()
		}
	}
}

// nodeOf is whose folder it is as it says itself, else otherwise.
func nodeOf(dir, otherwise string) string {
	var id folder.Identity
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(dir), folder.IdentityFile))
	if err != nil || json.Unmarshal(raw, &id) != nil || id.Node == "" {
		return otherwise
	}
	return id.Node
}

// status fills in what a running node tells of itself.
func (n Node) status(ctx context.Context, out *Status) error {
	chain, err := n.Client.LogChain(ctx, out.Node, 0)
	if err != nil {
		return err
	}
	s, err := n.Client.Status(ctx)
	if err != nil {
		return err
	}
	out.Applied, out.Chain, out.First, out.Term = chain.Index, chain.Chain, chain.First, s.Term
	for _, v := range s.Voters {
		out.Voters = append(out.Voters, v.Node)
	}
	return nil
}

// entriesPerDay is how many entries came a day, from the first to the last that say when they were made.
func entriesPerDay(ctx context.Context, s Source, first, last uint64) (float64, error) {
	const dayMicros = 24 * 60 * 60 * 1e6
	bound := func(reverse bool) (at wire.LogEntry, err error) {
		for e, err := range s.Entries(ctx, Range{From: first, To: last, Reverse: reverse}) {
			if err != nil {
				return at, err
			}
			if e.micros() > 0 {
				return e.Wire(), nil
			}
		}
		return at, nil
	}
	from, err := bound(false)
	if err != nil {
		return 0, err
	}
	to, err := bound(true)
	if err != nil || to.Micros <= from.Micros {
		return 0, err
	}
	return float64(to.Index-from.Index) / float64(to.Micros-from.Micros) * dayMicros, nil
}
