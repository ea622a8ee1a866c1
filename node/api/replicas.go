package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeVerify has every replica of an extent read in full and compared with the log.
func (a *API) ServeVerify(ctx context.Context, c *mux.ServerCall, req wire.VerifyRequest) error {
	e, err := a.o.FreshExtent(ctx, state.ExtentID(req.Extent))
	if err != nil {
		return err
	}
	if e.State != state.ExtentSealed {
		return wire.Errorf(c.Op(), wire.CodePrecondition,
			"extent %d is %s: only a sealed extent has a sum to hold its replicas against", e.ID, e.State)
	}
	done, err := a.turn(ctx, c, fair.WorkVerify)
	if err != nil {
		return err
	}
	defer done()
	who := replica.Requester{Sharer: a.o.Sharer(c), Behalf: c.Asker()}
	found := make(chan wire.Verified, len(e.Replicas))
	replica.Each(e, func(node state.NodeID) error {
		found <- a.o.Replicas.Verify(ctx, who, e, node)
		return nil
	})
	close(found)
	var reply wire.VerifyReply
	for v := range found {
		reply.Replicas = append(reply.Replicas, v)
	}
	slices.SortFunc(reply.Replicas, func(a, b wire.Verified) int { return strings.Compare(a.Node, b.Node) })
	return c.Reply(&reply, nil)
}

// ServeInventory lists what this node has on disk.
func (a *API) ServeInventory(ctx context.Context, c *mux.ServerCall) error {
	out := wire.InventoryReply{Node: string(a.o.Node), Extents: []uint64{}, Staging: []uint64{}, Quarantined: []string{}}
	for _, id := range a.o.Store.IDs() {
		out.Extents = append(out.Extents, uint64(id))
	}
	for _, id := range a.o.Store.Staged() {
		out.Staging = append(out.Staging, uint64(id))
	}
	return c.Reply(&out, nil)
}

// ServeScrub says how far a node's scrub is.
func (a *API) ServeScrub(ctx context.Context, c *mux.ServerCall, req wire.ScrubRequest) error {
	if relayed, err := a.atNode(ctx, c, req.Node); relayed {
		return err
	}
	reply := a.o.Scrub.Describe()
	if req.Extent != 0 {
		e, err := a.o.FreshExtent(ctx, state.ExtentID(req.Extent))
		if err != nil {
			return err
		}
		if _, holds := e.Replica(a.o.Node); !holds {
			return wire.Errorf(c.Op(), wire.CodeNotFound, "%s has no replica of extent %d", a.o.Node, e.ID)
		}
		reply.Extent, reply.Verified = req.Extent, unixMicros(a.o.Scrub.VerifiedAt(e.ID))
	}
	return c.Reply(&reply, nil)
}

// ServeDisks says how a node's disks are.
func (a *API) ServeDisks(ctx context.Context, c *mux.ServerCall, req wire.DisksRequest) error {
	if relayed, err := a.atNode(ctx, c, req.Node); relayed {
		return err
	}
	return c.Reply(&wire.DisksReply{Disks: a.o.Disks()}, nil)
}

// ServeDiskChange has something done with a disk of a node.
func (a *API) ServeDiskChange(ctx context.Context, c *mux.ServerCall, req wire.DiskChangeRequest) error {
	if relayed, err := a.atNode(ctx, c, req.Node); relayed {
		return err
	}
	disk, err := a.o.ChangeDisk(c, req.Disk, req.Change)
	if err != nil {
		return err
	}
	return c.Reply(&wire.DiskChangeReply{Disk: disk}, nil)
}

func unixMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
