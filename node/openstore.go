package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/datanode/datanode/node/datapath"
	"github.com/datanode/datanode/node/diskhang"
	"github.com/datanode/datanode/node/disks"
	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// openStores opens the first disk, and the further ones.
func (n *Node) openStores() error {
	store, recovery, err := extent.Begin(n.cfg.FS, filepath.Join(n.cfg.Dir, "store"),
		extent.Options{MakeRoom: n.space.MakeRoom})
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("data folder %s is in use by another process; "+
			"stop that node, or give this one its own --dir", n.cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("data folder %s: %w", n.cfg.Dir, err)
	}
	n.store = store
	n.disks, err = disks.Open(disks.Options{
		Node: n.id, Incarnation: n.incarnation, Cell: n.folder.AdmittedBy, FS: n.plainFS, Clock: n.clock, Logger: n.logger,
		Look: n.time.tick, Probe: n.time.probe, HungAfter: diskhang.After,
		Dir: n.cfg.Dir, Store: store, Recovery: recovery, Space: n.space, More: n.cfg.Disks, OpenSpace: n.openSpace,
		Counted: n.countedOnLost,
	})
	return err
}

// openSpace opens what watches the room of a disk.
func (n *Node) openSpace(fsys vfs.FS, dir string) (*diskspace.Disk, error) {
	return diskspace.Open(diskspace.Options{
		FS: fsys, Dir: dir, Node: n.id, Logger: n.logger, Clock: n.clock, Look: n.time.tick,
		AppendBytes: datapath.AppendBytes, Reserve: n.opened.diskReserve,
	})
}

// lostAgain is after how long it is looked again for replicas that are lost with a disk and not reported yet.
const lostAgain = 10 * time.Second

// watchDisks reports what is on disks that were given up, so that it is repaired elsewhere.
func (n *Node) watchDisks(ctx context.Context) {
	select {
	case <-n.life.caughtUp:
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		changed := n.disks.Changed()
		if n.disks.AnyLost() {
			if _, err := n.replicas.ReportLost(ctx, n.log.View()); err != nil && ctx.Err() == nil {
				n.logger.Warn("what is lost with a disk is not reported yet", "error", err)
			}
		}
		select {
		case <-changed:
		case <-n.clock.After(lostAgain):
		case <-ctx.Done():
		}
	}
}

// changeDisk carries out what somebody wants done with a disk, and writes down who.
func (n *Node) changeDisk(c *mux.ServerCall, disk, change string) (wire.Disk, error) {
	now, err := n.disks.Change(disk, change)
	if err == nil {
		n.logger.Info("asked for", "asked_by", string(n.asker(c)), "command", c.Op().String(), "disk", disk, "change", change)
	}
	return now, err
}

// countedOnLost are the extents that would be less than they are now if no disk that was given up came back.
func (n *Node) countedOnLost() (ids []state.ExtentID) {
	n.log.View().ReplicasOn(n.id, func(e *state.Extent) bool {
		r, _ := e.Replica(n.id)
		if (r.State == state.ReplicaWhole || e.Whole() == 0) && n.disks.Lost(extent.ID(e.ID)) {
			ids = append(ids, e.ID)
		}
		return true
	})
	return ids
}

// makeDrainer makes what empties disks. The replicas and the scrub are made.
func (n *Node) makeDrainer() {
	n.drainer = disks.NewDrainer(disks.DrainOptions{
		Disks: n.disks, Ready: n.life.caughtUp, View: n.log.View, Clock: n.clock, Logger: n.logger, Share: n.share,
		Pace: n.replicas.Pace, Memory: n.copyMemory.ToWrite, AskSeal: func(id state.ExtentID) { n.data.AskSeal(id) },
		Damaged:  func(id state.ExtentID, why string) { n.replicas.NoteSuspect(id, n.id, why) },
		Unread:   func(e *state.Extent, err error) { n.replicas.NoteUnread(e, n.id, err) },
		Verified: n.scrub.Note,
	})
}

// eachReplica is replica.Each that waits for no disk of this node which hangs.
func (n *Node) eachReplica(e *state.Extent, f func(state.NodeID) error) map[state.NodeID]error {
	return n.hang.EachReplica(e, n.disks.GivenUp(extent.ID(e.ID)), f)
}

// lookIntoStore opens the store to the end, beside everything else: a node that holds many extents votes, follows the
// log and sends heartbeats meanwhile. It serves only afterwards. Whoever uses an extent before waits for its
// file alone.
func (n *Node) lookIntoStore(ctx context.Context) {
	found, err := n.disks.Recover(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		n.fail(fmt.Errorf("data folder %s: %w", n.cfg.Dir, err))
		return
	}
	n.logger.Info("store opened", "found", strings.TrimSpace(found.String()))
	close(n.opens)
}

// storeOpen reports whether the store has been opened to the end.
func (n *Node) storeOpen() bool { return isClosed(n.opens) }

// reconcile compares the store with the log once it is open: with the view of then, if it had to wait.
func (n *Node) reconcile(ctx context.Context, view *state.View) error {
	if !n.storeOpen() {
		select {
		case <-n.opens:
			view = n.log.View()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return n.replicas.Reconcile(ctx, view)
}
