package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/cmd/datanode/internal/logdiff"
	"github.com/datanode/datanode/wire"
)

// check compares everything that can be seen from outside with what was asked for.
func (r *Replay) check(ctx context.Context) error {
	if r.Options.meddle != nil {
		if err := r.Options.meddle(r); err != nil {
			return err
		}
	}
	return r.Inspect(ctx)
}

func (r *Replay) Inspect(ctx context.Context) error {
	known, err := r.extents(ctx)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context, map[uint64]wire.Extent) error{
		r.checkKept, r.checkDeleted, r.checkDisks, r.checkLogs, r.countWork,
	} {
		if err := step(ctx, known); err != nil {
			return err
		}
	}
	if r.Account.Wrong = r.Cell.WrongReplies(); r.Account.Wrong > 0 {
		r.Found.add(exit.Corrupt, "%d frames matched no call", r.Account.Wrong)
	}
	return nil
}

// replicaOf is one file at one node.
type replicaOf struct {
	file *File
	node string
}

// checkKept reads every file that is left from every replica.
func (r *Replay) checkKept(ctx context.Context, known map[uint64]wire.Extent) error {
	var all []replicaOf
	for _, p := range r.kept() {
		e := known[p.Extent]
		if e.State != "sealed" || e.Live < e.Want || len(e.Replicas) < r.Options.copies() {
			r.Found.add(exit.Failed, "extent %d is %q with %d of %d replicas", p.Extent, e.State, e.Live, e.Want)
		}
		for _, replica := range e.Replicas {
			for i := range p.Files {
				all = append(all, replicaOf{&p.Files[i], replica.Node})
			}
		}
		r.Account.Kept += len(p.Files)
	}
	t := r.newTally("replicas read", len(all))
	defer t.end()
	err := each(ctx, all, func(ctx context.Context, one replicaOf) error {
		want, err := one.file.read()
		if err != nil {
			return err
		}
		if err := r.compare(ctx, one, want); err != nil {
			return err
		}
		t.add(int64(len(want)))
		return nil
	})
	r.Account.Read, r.Account.ReadBytes = t.done, t.bytes
	return err
}

// compare reads one replica of a file and compares it with the original.
func (r *Replay) compare(ctx context.Context, one replicaOf, want []byte) error {
	var got bytes.Buffer
	_, err := r.Cell.Client(one.node).Read(ctx, wire.ReadRequest{Locator: one.file.locator, Node: one.node}, &got)
	switch code := wire.CodeOf(err); {
	case code == wire.CodeCorrupt || code == wire.CodeNotFound || code == wire.CodeProtocol:
		r.Found.add(exit.Corrupt, "%s, %s on %s: %v", one.file.path, one.file.locator, one.node, err)
	case err != nil:
		return fmt.Errorf("read %s from %s: %w", one.file.locator, one.node, err)
	case !bytes.Equal(got.Bytes(), want):
		r.Found.add(exit.Corrupt, "%s, %s on %s: %s", one.file.path, one.file.locator, one.node,
			difference(got.Bytes(), want))
	}
	return nil
}

// difference says where two different byte strings part.
func difference(got, want []byte) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d bytes, the original has %d", len(got), len(want))
	}
	at := 0
	for got[at] == want[at] {
		at++
	}
	return fmt.Sprintf("byte %d is %#02x, that of the original is %#02x", at, got[at], want[at])
}

// checkDeleted asks for a file of every deleted extent.
func (r *Replay) checkDeleted(ctx context.Context, known map[uint64]wire.Extent) error {
	gone := r.deleted()
	r.Account.Deleted = len(gone)
	return each(ctx, gone, func(ctx context.Context, p *Package) error {
		if e, found := known[p.Extent]; found && (e.State != "deleted" || len(e.Dropping) > 0) {
			r.Found.add(exit.Failed, "extent %d should be deleted and is %q", p.Extent, e.State)
		}
		var got bytes.Buffer
		_, err := r.Cell.Client(p.primary).Read(ctx, wire.ReadRequest{Locator: p.Files[0].locator}, &got)
		if err == nil {
			r.Found.add(exit.Failed, "%s of the deleted extent %d can still be read", p.Files[0].locator, p.Extent)
		} else if wire.CodeOf(err) != wire.CodeNotFound {
			return err
		}
		return nil
	})
}

// checkDisks looks for what was deleted: in what each node says that it has, and in its folder.
func (r *Replay) checkDisks(ctx context.Context, _ map[uint64]wire.Extent) error {
	for _, cfg := range r.Cell.Configs {
		listed, err := r.Cell.Client(cfg.ID).Inventory(ctx, cfg.Listen)
		if err != nil {
			return err
		}
		onDisk, err := extentFiles(filepath.Join(cfg.Dir, "store"))
		if err != nil {
			return err
		}
		has := append(slices.Concat(listed.Extents, listed.Staging), onDisk...)
		slices.Sort(has)
		has = slices.Compact(has)
		for _, p := range r.deleted() {
			if _, still := slices.BinarySearch(has, p.Extent); still {
				r.Found.add(exit.Failed, "%s still has a file of the deleted extent %d", cfg.ID, p.Extent)
			}
		}
		if cfg.ID == Leaving && len(has) > 0 {
			r.Found.add(exit.Failed, "%s is safe to remove and still has files of %d extents", cfg.ID, len(has))
		}
		r.Account.Disks++
	}
	return nil
}

// extentFiles is which extents have a file of any kind in a node's store: all of their names begin
// with the extent's number.
func extentFiles(folder string) ([]uint64, error) {
	var ids []uint64
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has gone since its folder was listed
		}
		if err != nil || entry.IsDir() {
			return err
		}
		digits, _, _ := strings.Cut(entry.Name(), ".")
		if id, err := strconv.ParseUint(digits, 10, 64); err == nil {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

// checkLogs has every node read its log again, and compares them.
func (r *Replay) checkLogs(ctx context.Context, _ map[uint64]wire.Extent) error {
	var ids []string
	for _, cfg := range r.Cell.Configs {
		ids = append(ids, cfg.ID)
		report, err := r.Cell.Client(cfg.ID).LogVerify(ctx, cfg.ID)
		if err != nil {
			return err
		}
		if !report.OK {
			r.Found.add(exit.Corrupt, "the log of %s: %s", cfg.ID, report.Detail)
		}
	}
	c := r.Cell.Client(local.ID(0))
	lines, err := logdiff.Compare(ids, func(node string, index uint64) (wire.LogChainReply,
		error) {
		return c.LogChain(ctx, node, index)
	})
	if err != nil {
		return err
	}
	for _, l := range lines {
		if !l.Same {
			r.Found.add(exit.Corrupt, "the logs of %s and %s differ from index %d on", lines[0].Node, l.Node, l.Differs)
		}
		r.Account.Entries = l.Index
	}
	return nil
}

// countWork counts what the cell did to recover.
func (r *Replay) countWork(ctx context.Context, _ map[uint64]wire.Extent) error {
	for op, err := range r.Cell.Client(local.ID(0)).Ops(ctx, wire.OpsRequest{}) {
		if err != nil {
			return err
		}
		switch copies := op.Kind == "move" || op.Kind == "repair"; {
		case copies && op.State == "done" && op.Kind == "move":
			r.Account.Moves++
		case copies && op.State == "done":
			r.Account.Repairs++
		case copies && op.State == "superseded":
			r.Account.Superseded++
			if op.Attempts > 0 {
				r.Account.CutShort++
			}
		}
	}
	return nil
}
