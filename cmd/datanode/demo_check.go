package main

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

	"github.com/datanode/datanode/wire"
)

// check holds everything that can be seen from outside against what was asked for.
func (r *replay) check(ctx context.Context) error {
	if r.d.meddle != nil {
		if err := r.d.meddle(r); err != nil {
			return err
		}
	}
	return r.inspect(ctx)
}

func (r *replay) inspect(ctx context.Context) error {
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
	if r.account.Wrong = r.cell.wrongReplies(); r.account.Wrong > 0 {
		r.found.add(exitCorrupt, "%d frames matched no call", r.account.Wrong)
	}
	return nil
}

// replicaOf is one file at one node.
type replicaOf struct {
	file *demoFile
	node string
}

// checkKept reads every file that is left from every replica.
func (r *replay) checkKept(ctx context.Context, known map[uint64]wire.Extent) error {
	var all []replicaOf
	for _, p := range r.kept() {
		e := known[p.extent]
		if e.State != "sealed" || e.Live < e.Want || len(e.Replicas) < r.d.copies() {
			r.found.add(exitFailed, "extent %d is %q with %d of %d replicas", p.extent, e.State, e.Live, e.Want)
		}
		for _, replica := range e.Replicas {
			for i := range p.files {
				all = append(all, replicaOf{&p.files[i], replica.Node})
			}
		}
		r.account.Kept += len(p.files)
	}
	t := r.a.newTally("replicas read", len(all))
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
	r.account.Read, r.account.ReadBytes = t.done, t.bytes
	return err
}

// compare reads one replica of a file and holds it against the original.
func (r *replay) compare(ctx context.Context, one replicaOf, want []byte) error {
	var got bytes.Buffer
	_, err := r.cell.client(one.node).Read(ctx, wire.ReadRequest{Locator: one.file.locator, Node: one.node}, &got)
	switch code := wire.CodeOf(err); {
	case code == wire.CodeCorrupt || code == wire.CodeNotFound || code == wire.CodeProtocol:
		r.found.add(exitCorrupt, "%s, %s on %s: %v", one.file.path, one.file.locator, one.node, err)
	case err != nil:
		return fmt.Errorf("read %s from %s: %w", one.file.locator, one.node, err)
	case !bytes.Equal(got.Bytes(), want):
		r.found.add(exitCorrupt, "%s, %s on %s: %s", one.file.path, one.file.locator, one.node, difference(got.Bytes(), want))
	}
	return nil
}

// difference tells where two different byte strings part.
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
func (r *replay) checkDeleted(ctx context.Context, known map[uint64]wire.Extent) error {
	gone := r.deleted()
	r.account.Deleted = len(gone)
	return each(ctx, gone, func(ctx context.Context, p *demoPackage) error {
		if e, found := known[p.extent]; found && (e.State != "deleted" || len(e.Dropping) > 0) {
			r.found.add(exitFailed, "extent %d should be deleted and is %q", p.extent, e.State)
		}
		var got bytes.Buffer
		_, err := r.cell.client(p.primary).Read(ctx, wire.ReadRequest{Locator: p.files[0].locator}, &got)
		if err == nil {
			r.found.add(exitFailed, "%s of the deleted extent %d can still be read", p.files[0].locator, p.extent)
		} else if wire.CodeOf(err) != wire.CodeNotFound {
			return err
		}
		return nil
	})
}

// checkDisks looks for what was deleted: in what each node says that it has, and in its folder.
func (r *replay) checkDisks(ctx context.Context, _ map[uint64]wire.Extent) error {
	for _, cfg := range r.cell.cfgs {
		listed, err := r.cell.client(cfg.ID).Inventory(ctx, cfg.Listen)
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
			if _, still := slices.BinarySearch(has, p.extent); still {
				r.found.add(exitFailed, "%s still has a file of the deleted extent %d", cfg.ID, p.extent)
			}
		}
		if cfg.ID == demoLeaving && len(has) > 0 {
			r.found.add(exitFailed, "%s is safe to remove and still has files of %d extents", cfg.ID, len(has))
		}
		r.account.Disks++
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
func (r *replay) checkLogs(ctx context.Context, _ map[uint64]wire.Extent) error {
	var ids []string
	for _, cfg := range r.cell.cfgs {
		ids = append(ids, cfg.ID)
		report, err := r.cell.client(cfg.ID).LogVerify(ctx, cfg.ID)
		if err != nil {
			return err
		}
		if !report.OK {
			r.found.add(exitCorrupt, "the log of %s: %s", cfg.ID, report.Detail)
		}
	}
	c := r.cell.client(devID(0))
	lines, err := compareLogs(ids, func(node string, index uint64) (wire.LogChainReply, error) { return c.LogChain(ctx, node, index) })
	if err != nil {
		return err
	}
	for _, l := range lines {
		if !l.Same {
			r.found.add(exitCorrupt, "the logs of %s and %s differ from index %d on", lines[0].Node, l.Node, l.Differs)
		}
		r.account.Entries = l.Index
	}
	return nil
}

// countWork counts what the cell did to recover.
func (r *replay) countWork(ctx context.Context, _ map[uint64]wire.Extent) error {
	for op, err := range r.cell.client(devID(0)).Ops(ctx, wire.OpsRequest{}) {
		if err != nil {
			return err
		}
		switch copies := op.Kind == "move" || op.Kind == "repair"; {
		case copies && op.State == "done" && op.Kind == "move":
			r.account.Moves++
		case copies && op.State == "done":
			r.account.Repairs++
		case copies && op.State == "superseded":
			r.account.Superseded++
			if op.Attempts > 0 {
				r.account.CutShort++
			}
		}
	}
	return nil
}
