package client

import (
	"context"
	"iter"

	"github.com/datanode/datanode/wire"
)

// Extents goes through extents by rising ID. req.Limit is the size of a page; it does not end the
// listing. After an error there is nothing more.
func (c *Client) Extents(ctx context.Context, req wire.ExtentsRequest) iter.Seq2[wire.Extent, error] {
	return func(yield func(wire.Extent, error) bool) {
		for {
			reply, err := call[wire.ExtentsReply](ctx, c, route{latest: true}, repeatable, wire.OpExtents, &req)
			if err != nil {
				yield(wire.Extent{}, err)
				return
			}
			for _, e := range reply.Extents {
				if !yield(e, nil) {
					return
				}
			}
			if req.One || reply.Next <= req.From {
				return
			}
			req.From = reply.Next
		}
	}
}

// Extent describes one extent; CodeNotFound if there is none.
func (c *Client) Extent(ctx context.Context, id uint64) (wire.Extent, error) {
	req := wire.ExtentsRequest{From: id, One: true}
	reply, err := call[wire.ExtentsReply](ctx, c, route{latest: true}, repeatable, wire.OpExtents, &req)
	if err != nil {
		return wire.Extent{}, err
	}
	for _, e := range reply.Extents {
		if e.ID == id {
			return e, nil
		}
	}
	return wire.Extent{}, wire.Errorf(wire.OpExtents, wire.CodeNotFound, "there is no extent %d", id)
}

// Verify has every replica of an extent read in full and compared with the log. Corruption is in the
// answer, it is not an error.
func (c *Client) Verify(ctx context.Context, extent uint64) ([]wire.Verified, error) {
	reply, err := call[wire.VerifyReply](ctx, c, route{latest: true}, repeatable, wire.OpVerify,
		&wire.VerifyRequest{Extent: extent})
	for _, v := range reply.Replicas {
		if err == nil {
			err = about(wire.OpVerify, "extent", extent, v.Extent)
		}
	}
	return reply.Replicas, err
}

// Nodes lists the nodes of the cell by ID.
func (c *Client) Nodes(ctx context.Context) ([]wire.Node, error) {
	reply, err := call[wire.NodesReply](ctx, c, route{latest: true}, repeatable, wire.OpNodes, nil)
	return reply.Nodes, err
}

// Status describes the cell as some node sees it.
func (c *Client) Status(ctx context.Context) (wire.Status, error) { return c.StatusOf(ctx, "") }

// StatusOf describes the cell as the node at addr sees it.
func (c *Client) StatusOf(ctx context.Context, addr string) (wire.Status, error) {
	return call[wire.Status](ctx, c, route{addr: addr}, repeatable, wire.OpStatus, nil)
}

// Conns lists the connections of the node at addr; empty: of the node that answers.
func (c *Client) Conns(ctx context.Context, addr string) (wire.ConnsReply, error) {
	return call[wire.ConnsReply](ctx, c, route{addr: addr}, repeatable, wire.OpConns, nil)
}

// Inventory lists the extent files on the disk of the node at addr; empty: of the node that answers.
func (c *Client) Inventory(ctx context.Context, addr string) (wire.InventoryReply, error) {
	return call[wire.InventoryReply](ctx, c, route{addr: addr}, repeatable, wire.OpInventory, nil)
}

// Scrub says how far a node's scrub is, and when it has verified its replica of an extent, unless that is 0.
func (c *Client) Scrub(ctx context.Context, node string, extent uint64) (wire.ScrubReply, error) {
	return call[wire.ScrubReply](ctx, c, route{}, repeatable, wire.OpScrub, &wire.ScrubRequest{Node: node, Extent: extent})
}

// Disks says how the disks of a node are, by its own word; empty: the node that answers.
func (c *Client) Disks(ctx context.Context, node string) ([]wire.Disk, error) {
	reply, err := call[wire.DisksReply](ctx, c, route{}, repeatable, wire.OpDisks, &wire.DisksRequest{Node: node})
	return reply.Disks, err
}

// ChangeDisk has something done with a disk of a node: see wire.DiskChanges. It answers how the disk is then.
func (c *Client) ChangeDisk(ctx context.Context, node, disk, change string) (wire.Disk, error) {
	req := wire.DiskChangeRequest{Node: node, Disk: disk, Change: change}
	reply, err := call[wire.DiskChangeReply](ctx, c, route{}, repeatable, wire.OpDiskChange, &req)
	return reply.Disk, err
}

// Health says how a node is, by its own word; empty: the node that answers.
func (c *Client) Health(ctx context.Context, node string) (wire.HealthReply, error) {
	return call[wire.HealthReply](ctx, c, route{}, repeatable, wire.OpHealth, &wire.HealthRequest{Node: node})
}

// Settings lists the cell's settings.
func (c *Client) Settings(ctx context.Context) ([]wire.Setting, error) {
	reply, err := call[wire.SettingsReply](ctx, c, route{}, repeatable, wire.OpSettings, nil)
	return reply.Settings, err
}

// RemoveNode takes a node out of the cell, or only says what that would do. It answers the plan.
func (c *Client) RemoveNode(ctx context.Context, req wire.NodeRemoveRequest) (string, error) {
	reply, err := call[wire.NodeRemoveReply](ctx, c, route{}, onlyUndone, wire.OpNodeRemove, &req)
	return reply.Plan, err
}

// Stopping says whether nodes could be stopped now, all at once, and names the first extents that could not be read or
// written to then.
func (c *Client) Stopping(ctx context.Context, req wire.StopRequest) (wire.StopReply, error) {
	return call[wire.StopReply](ctx, c, route{}, repeatable, wire.OpStop, &req)
}

// Balance is a plan of at most so many moves that make disks as full as each other; nothing is changed.
func (c *Client) Balance(ctx context.Context, limit int) (wire.BalanceReply, error) {
	return call[wire.BalanceReply](ctx, c, route{latest: true}, repeatable, wire.OpBalance,
		&wire.BalanceRequest{Limit: limit})
}

// Pause plans a stop of a node, or ends that: done twice it comes to the same.
func (c *Client) Pause(ctx context.Context, req wire.PauseRequest) (wire.PauseReply, error) {
	safe := repeatable
	if req.Resume {
		safe = onlyUndone // the second would be told that there is nothing to end
	}
	return call[wire.PauseReply](ctx, c, route{}, safe, wire.OpPause, &req)
}

// Blocked goes through what waits, and for what: repairs that the cell does not ask for yet, by node, and queued
// operations by rising ID. req.Limit is the size of a page. After an error there is nothing more.
func (c *Client) Blocked(ctx context.Context, req wire.BlockedRequest) iter.Seq2[wire.Blocked, error] {
	return func(yield func(wire.Blocked, error) bool) {
		for {
			reply, err := call[wire.BlockedReply](ctx, c, route{latest: true}, repeatable, wire.OpBlocked, &req)
			if err != nil {
				yield(wire.Blocked{}, err)
				return
			}
			for _, b := range reply.Blocked {
				if !yield(b, nil) {
					return
				}
			}
			if reply.Next == "" || reply.Next == req.After {
				return
			}
			req.After = reply.Next
		}
	}
}

// SetSetting changes one setting for the whole cell.
func (c *Client) SetSetting(ctx context.Context, key, value string) error {
	_, err := call[nothing](ctx, c, route{}, repeatable, wire.OpSetting, &wire.SettingRequest{Key: key, Value: value})
	return err
}
