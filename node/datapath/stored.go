package datapath

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/failure"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// maxLengthsKnown bounds the open extents of which it is remembered how long they are at the least.
const maxLengthsKnown = 4096

// lengths are how long open extents are at the least. They only grow while they are open; births tell them from
// others.
type lengths struct {
	mu    sync.Mutex
	least map[bornExtent]uint64 // guarded by mu
}

type bornExtent struct {
	id    state.ExtentID
	birth uint32
}

func (l *lengths) reach(e *state.Extent, end uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.least[bornExtent{e.ID, e.Birth()}] >= end
}

func (l *lengths) note(e *state.Extent, least uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.least == nil || len(l.least) >= maxLengthsKnown {
		l.least = map[bornExtent]uint64{}
	}
	key := bornExtent{e.ID, e.Birth()}
	l.least[key] = max(l.least[key], least)
}

// Stored refuses the end of a range of an open extent that is behind all that is stored of it: the log does not know
// how long it is. What is acknowledged is on every replica, so that any whole one can tell: this node's own, or one
// that sends the last byte.
func (dp *Path) Stored(ctx context.Context, e *state.Extent, end uint64) *wire.Error {
	if dp.lengths.reach(e, end) {
		return nil
	}
	if r, holds := e.Replica(dp.o.ID); holds && r.State == state.ReplicaWhole {
		if info, err := dp.o.Store.Stat(extent.ID(e.ID)); err == nil && info.Present {
			dp.lengths.note(e, info.Length)
			if info.Length >= end {
				return nil
			}
			return wire.Errorf(wire.OpPunch, wire.CodeNotFound, "open extent %d does not go as far as byte %d yet", e.ID, end)
		}
	}
	refusal := wire.Errorf(wire.OpPunch, wire.CodeUnavailable,
		"no node with a whole replica of open extent %d is up to say how long it is", e.ID)
	for _, r := range e.Replicas {
		if r.Node == dp.o.ID || r.State != state.ReplicaWhole {
			continue
		}
		err := dp.lastByte(ctx, e, r.Node, end)
		if err == nil {
			dp.lengths.note(e, end)
			return nil
		}
		refusal = failure.Of(wire.OpPunch, dp.o.ID, err)
		if refusal.Code == wire.CodeNotFound {
			return refusal
		}
	}
	return refusal
}

// lastByte reads the byte before end at another node.
func (dp *Path) lastByte(ctx context.Context, e *state.Extent, id state.NodeID, end uint64) error {
	conn, err := dp.o.Connect(ctx, id)
	if err != nil {
		return err
	}
	at := wire.Locator{Extent: uint64(e.ID), Offset: end - 1, Length: 1, Birth: e.Birth()}
	stream, err := conn.Open(ctx, mux.Request{
		Op: wire.OpRead, Session: wire.SessionClient, Body: &wire.ReadRequest{Node: string(id), Locator: at},
	})
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		if _, err := dp.o.Reach.Recv(stream); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
