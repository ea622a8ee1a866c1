package cli

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// FindNode is what the cell says of a node.
func FindNode(ctx context.Context, c *client.Client, id string) (wire.Node, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return wire.Node{}, err
	}
	for _, n := range nodes {
		if n.ID == id {
			return n, nil
		}
	}
	return wire.Node{}, wire.Errorf(wire.OpNodes, wire.CodeNotFound, "there is no node %q; see node ls", id)
}

// OpsError is the first of the operations that did not come to a good end.
func OpsError(ops []wire.Op) error {
	bad := 0
	var first error
	for _, op := range ops {
		if op.State == "done" {
			continue
		}
		if bad++; first == nil {
			first = OpError(op)
		}
	}
	if bad > 1 {
		return fmt.Errorf("%d of %d operations came to nothing; the first: %w", bad, len(ops), first)
	}
	return first
}

// OpError is an operation that did not come to a good end.
func OpError(op wire.Op) error {
	detail := op.Detail
	if detail == "" && op.By != "" {
		detail = "by " + op.By
	}
	if detail != "" {
		detail = ": " + detail
	}
	code := exit.Failed
	if op.State == "rejected" || op.State == "superseded" {
		code = exit.Refused
	}
	return exit.With(code, "operation %s (%s %s) is %s%s; see datanode op explain %s",
		op.ID, op.Kind, Target(op.Extent, op.Node), op.State, detail, op.ID)
}

// Target is the extent that an operation is about, or else the node.
func Target(extent uint64, node string) string {
	if extent == 0 {
		return node
	}
	return term.Number(extent)
}
