package client

import (
	"context"
	"io"
	"iter"

	"github.com/datanode/datanode/wire"
)

// LogEntries is one page of a node's log: entries req.From to req.To, or the newest when From is 0. Each is whole:
// one that does not fit an answer, which may have 4096 commands, is put together from several.
func (c *Client) LogEntries(ctx context.Context, req wire.LogRequest) (wire.LogReply, error) {
	reply, err := call[wire.LogReply](ctx, c, route{}, repeatable, wire.OpLogList, &req)
	for i := 0; err == nil && i < len(reply.Entries); i++ {
		err = c.completeEntry(ctx, reply.Node, &reply.Entries[i])
	}
	return reply, err
}

func (c *Client) completeEntry(ctx context.Context, node string, e *wire.LogEntry) error {
	for e.More > 0 {
		rest := wire.LogRequest{Node: node, From: e.Index, To: e.Index, Limit: 1, Skip: len(e.Commands)}
		reply, err := call[wire.LogReply](ctx, c, route{}, repeatable, wire.OpLogList, &rest)
		if err != nil {
			return err
		}
		if len(reply.Entries) != 1 || reply.Entries[0].Index != e.Index || len(reply.Entries[0].Commands) == 0 {
			return wire.Errorf(wire.OpLogList, wire.CodeNotFound,
				"%s no longer has entry %d: %d of its commands were read, not the other %d", node, e.Index, len(e.Commands), e.More)
		}
		e.Commands, e.More = append(e.Commands, reply.Entries[0].Commands...), reply.Entries[0].More
	}
	return nil
}

// LogRange goes through the entries from to to of a node's log; to 0 is the last one that the node
// had when it was first asked. An empty node is whichever answers. After an error there is nothing more.
func (c *Client) LogRange(ctx context.Context, node string, from, to uint64) iter.Seq2[wire.LogEntry, error] {
	return func(yield func(wire.LogEntry, error) bool) {
		req := wire.LogRequest{Node: node, From: max(from, 1), To: to}
		for req.To == 0 || req.From <= req.To {
			reply, err := c.LogEntries(ctx, req)
			if err != nil {
				yield(wire.LogEntry{}, err)
				return
			}
			if req.To == 0 {
				req.To = reply.Last
			}
			req.Node = reply.Node // the next page from the same log
			next := req.From
			for _, e := range reply.Entries {
				if !yield(e, nil) {
					return
				}
				next = max(next, e.Index+1)
			}
			if next == req.From {
				return
			}
			req.From = next
		}
	}
}

// LogVerify has a node read its stored log again and check it. What is wrong with the log is in the
// answer, it is not an error. An empty node is whichever answers.
func (c *Client) LogVerify(ctx context.Context, node string) (wire.LogVerifyReply, error) {
	reply, err := call[wire.LogVerifyReply](ctx, c, route{}, repeatable, wire.OpLogVerify,
		&wire.LogVerifyRequest{Node: node})
	if err == nil && node != "" {
		err = about(wire.OpLogVerify, "the log of", node, reply.Node)
	}
	return reply, err
}

// LogChain is a node's chain hash at an index, 0: where it stands. An empty node is whichever answers.
func (c *Client) LogChain(ctx context.Context, node string, index uint64) (wire.LogChainReply, error) {
	reply, err := call[wire.LogChainReply](ctx, c, route{}, repeatable, wire.OpLogChain,
		&wire.LogChainRequest{Node: node, Index: index})
	if err == nil && node != "" {
		err = about(wire.OpLogChain, "the log of", node, reply.Node)
	}
	if err == nil && index != 0 {
		err = about(wire.OpLogChain, "entry", index, reply.Index)
	}
	return reply, err
}

// LogSnapshots lists the snapshots of a node's log, oldest first; take has it take one before. An empty node is
// whichever answers.
func (c *Client) LogSnapshots(ctx context.Context, node string, take bool) (wire.LogSnapshotsReply, error) {
	reply, err := call[wire.LogSnapshotsReply](ctx, c, route{}, repeatable, wire.OpLogSnapshots,
		&wire.LogSnapshotsRequest{Node: node, Take: take})
	if err == nil && node != "" {
		err = about(wire.OpLogSnapshots, "the log of", node, reply.Node)
	}
	return reply, err
}

// LogSnapshot writes a snapshot of a node's log to w, and answers which it was: an empty ID is the newest sound one, an
// empty node whichever answers. Its own checksum says whether all of it came as it was.
func (c *Client) LogSnapshot(ctx context.Context, node, id string, w io.Writer) (of, was string, err error) {
	req := wire.LogSnapshotRequest{Node: node, ID: id}
	for {
		reply, err := call[wire.LogSnapshotReply](ctx, c, route{}, repeatable, wire.OpLogSnapshot, &req)
		switch {
		case err != nil:
			return req.Node, req.ID, err
		case req.Node != "" && reply.Node != req.Node:
			return req.Node, req.ID, about(wire.OpLogSnapshot, "the log of", req.Node, reply.Node)
		case req.ID != "" && reply.ID != req.ID:
			return req.Node, req.ID, about(wire.OpLogSnapshot, "snapshot", req.ID, reply.ID)
		case reply.Offset != req.Offset:
			return req.Node, req.ID, about(wire.OpLogSnapshot, "the bytes at", req.Offset, reply.Offset)
		}
		req.Node, req.ID = reply.Node, reply.ID
		if _, err := w.Write(reply.Data); err != nil {
			return req.Node, req.ID, err
		}
		if req.Offset += uint64(len(reply.Data)); len(reply.Data) == 0 || req.Offset >= reply.Size {
			return req.Node, req.ID, nil
		}
	}
}
