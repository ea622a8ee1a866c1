package client

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/wire"
)

const (
	// waitRound is how long a node holds a Wait before it says where things stand. A watched one
	// is shorter, since its reports are what moves a progress bar.
	waitRound        = 20 * time.Second
	waitRoundWatched = 500 * time.Millisecond
	// waitAtOnce is how many operations one round asks about.
	waitAtOnce = 512
)

// Ended reports whether nothing more will happen to an operation.
func Ended(op wire.Op) bool { return op.State != "queued" && op.State != "running" }

// Wait returns when all of the operations have ended, in whatever way, with what became of each in
// the order asked. progress, if not nil, is told now and then where all of them stand; it must not
// keep the slice. When ctx ends first, the error comes with what was known last.
func (c *Client) Wait(ctx context.Context, ids []string, progress func([]wire.Op)) ([]wire.Op, error) {
	ops := make([]wire.Op, len(ids))
	at := make(map[string]int, len(ids))
	for i, id := range ids {
		ops[i] = wire.Op{ID: id, State: "queued"}
		at[id] = i
	}
	round := waitRound
	if progress != nil {
		round = waitRoundWatched
	}
	for {
		open := openOnes(ops)
		if len(open) == 0 {
			return ops, nil
		}
		req := wire.WaitRequest{Ops: open, WaitMicros: round.Microseconds()}
		reply, err := call[wire.OpsReply](ctx, c, route{latest: true}, repeatable, wire.OpWait, &req)
		if err != nil {
			return ops, err
		}
		known := 0
		for _, op := range reply.Ops {
			if i, asked := at[op.ID]; asked {
				ops[i] = op
				known++
			}
		}
		if known == 0 {
			return ops, wire.Errorf(wire.OpWait, wire.CodeProtocol, "none of the %d operations asked about was answered",
				len(open))
		}
		if progress != nil {
			progress(ops)
		}
	}
}

func openOnes(ops []wire.Op) []string {
	var open []string
	for _, op := range ops {
		if !Ended(op) && len(open) < waitAtOnce {
			open = append(open, op.ID)
		}
	}
	return slices.Compact(open)
}

// Cancel ends an operation that has not ended, and returns what is left of it.
func (c *Client) Cancel(ctx context.Context, id string) (wire.Op, error) {
	o, err := call[wire.Op](ctx, c, route{}, onlyUndone, wire.OpCancel, &wire.CancelRequest{Op: id})
	return o, cmp.Or(err, about(wire.OpCancel, "operation", canonical(id), o.ID))
}

// Undelete brings back an extent that was deleted with grace, if that is not over, and returns what it is then. A birth
// of 0 means whichever extent has the number.
func (c *Client) Undelete(ctx context.Context, id uint64, birth uint32) (wire.Extent, error) {
	req := &wire.UndeleteRequest{Extent: id, Birth: birth}
	return call[wire.Extent](ctx, c, route{}, onlyUndone, wire.OpUndelete, req)
}

// Reorder puts a queued operation before another of its kind, or before all of them when that is empty. The kind must
// be one of which one operation runs at a time.
func (c *Client) Reorder(ctx context.Context, id, before string) (wire.Op, error) {
	return call[wire.Op](ctx, c, route{}, onlyUndone, wire.OpReorder, &wire.ReorderRequest{Op: id, Before: before})
}

// Op describes one operation, with its facts and steps.
func (c *Client) Op(ctx context.Context, id string) (wire.Op, error) {
	o, err := call[wire.Op](ctx, c, route{latest: true}, repeatable, wire.OpShowOp, &wire.ShowOpRequest{Op: id})
	return o, cmp.Or(err, about(wire.OpShowOp, "operation", canonical(id), o.ID))
}

// canonical is an operation's ID as the cell writes it: a person may have typed 4711.0 for 4711.
func canonical(id string) string {
	head, tail, _ := strings.Cut(id, ".")
	index, err := strconv.ParseUint(head, 10, 64)
	place, badPlace := strconv.ParseUint(cmp.Or(tail, "0"), 10, 64)
	switch {
	case err != nil || badPlace != nil:
		return id
	case place == 0:
		return strconv.FormatUint(index, 10)
	}
	return fmt.Sprintf("%d.%d", index, place)
}

// Ops goes through operations, oldest first. req.Limit is the size of a page; it does not end the
// listing. After an error there is nothing more.
func (c *Client) Ops(ctx context.Context, req wire.OpsRequest) iter.Seq2[wire.Op, error] {
	return func(yield func(wire.Op, error) bool) {
		for {
			reply, err := call[wire.OpsReply](ctx, c, route{latest: true}, repeatable, wire.OpOps, &req)
			if err != nil {
				yield(wire.Op{}, err)
				return
			}
			for _, op := range reply.Ops {
				if !yield(op, nil) {
					return
				}
				req.After = op.ID
			}
			if !reply.More || len(reply.Ops) == 0 {
				return
			}
		}
	}
}
