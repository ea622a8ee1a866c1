package node

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// asked is an operation that an appender wants of the cell.
type asked struct {
	kind   policies.Kind
	extent state.ExtentID
	made   state.OpID // the create of an extent that nobody has written to; 0: it was written to here
}

// ask wants a seal or a delete in the background.
func (a *appenders) ask(kind policies.Kind, id state.ExtentID) {
	a.askFor(asked{kind: kind, extent: id})
}

func (a *appenders) askFor(w asked) {
	select {
	case a.wanted <- w:
	default: // as many as can be open wait already: the extent stays as it is until the node restarts
		a.n.logger.Warn("too many operations wait to be asked for", "kind", w.kind.String(), "extent", uint64(w.extent))
	}
}

// run asks the cell for what is wanted, each again until it is admitted or no longer possible.
func (a *appenders) run(ctx context.Context) {
	for {
		select {
		case w := <-a.wanted:
			a.submit(ctx, w)
		case <-ctx.Done():
			return
		}
	}
}

func (a *appenders) submit(ctx context.Context, w asked) {
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, a.n.time.stepLimit)
		err := a.checkMade(limited, w)
		if err == nil {
			_, err = a.n.submitAnywhere(limited, 0, wire.Submission{Kind: w.kind.String(), Extent: uint64(w.extent)})
		}
		cancel()
		switch wire.CodeOf(err) {
		case wire.CodeUnavailable, wire.CodeConnection, wire.CodeDeadline, wire.CodeExhausted:
		default:
			return // admitted, or no longer possible: somebody else has sealed or deleted it
		}
		select {
		case <-a.n.after(reportPause):
		case <-ctx.Done():
		}
	}
}

// checkMade makes sure, before an extent is deleted that nobody is to write to, that it is the one that this node
// had made: by the log, and not by what somebody answered.
func (a *appenders) checkMade(ctx context.Context, w asked) error {
	if w.made == 0 {
		return nil
	}
	if err := a.n.log.WaitApplied(ctx, w.made.Index()); err != nil {
		return err
	}
	err := a.n.checkMadeBy(a.n.log.View().Op(w.made), w.extent)
	if err != nil {
		a.n.logger.Warn("extent not discarded", "extent", uint64(w.extent), "error", err)
	}
	return err
}

// elsewhere lets a put go on at another node whose create here came to something else: nothing was written.
func elsewhere(err error) error {
	if wire.CodeOf(err) != wire.CodeProtocol {
		return err
	}
	return wire.Errorf(wire.OpPut, wire.CodeUnavailable, "%v", err)
}

// checkMadeBy tells whether an operation is a create of this extent that this node has asked for. Whatever else it is
// was never this node's to write to, nor to discard.
func (n *Node) checkMadeBy(o *state.Op, id state.ExtentID) error {
	switch {
	case o == nil:
		return wire.Errorf(wire.OpSubmit, wire.CodeNotFound, "the operation that made extent %d ended long ago", id)
	case o.Kind == policies.KindCreate && o.Extent == id && o.Origin == policies.OriginCell && (o.AskedBy == "" || o.AskedBy == n.ownIdentity()):
		return nil
	}
	n.misused.answer.Add(1)
	return &wire.Error{Op: wire.OpSubmit, Code: wire.CodeProtocol, Outcome: wire.Unknown, Detail: fmt.Sprintf(
		"this node asked for a create, and was told of %s (by %s): nothing is written to that extent, and it is not discarded", o, describe.Person(o.AskedBy))}
}
