package datapath

import (
	"cmp"
	"context"
	"fmt"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// creator has the cell make extents with this node as their primary.
type creator struct {
	o          *Options
	background *background
}

// create makes an extent. A create that fails, because a node that was to have a replica does not answer, is followed
// by another.
func (c *creator) create(ctx context.Context, t quota.Tenant) (*state.Extent, error) {
	patient, cancel := context.WithTimeout(ctx, c.o.CreatePatience)
	defer cancel()
	for pause := askPause; ; pause *= 2 {
		e, failed, err := c.once(patient, t)
		switch {
		case err == nil:
			return e, nil
		case patient.Err() != nil && ctx.Err() == nil:
			return nil, wire.Errorf(wire.OpPut, wire.CodeUnavailable,
				"no extent to write to within %v: %v", c.o.CreatePatience, err)
		case !failed:
			return nil, err
		}
		select {
		case <-c.o.Clock.After(pause):
		case <-patient.Done():
		}
	}
}

// once runs a create through the log and waits for it. failed reports that it was admitted and has failed.
func (c *creator) once(ctx context.Context, t quota.Tenant) (e *state.Extent, failed bool, err error) {
	notHere := wire.Errorf(wire.OpPut, wire.CodeUnavailable, "%s takes no new extents now; ask another node", c.o.ID)
	if self := c.o.Log.View().Node(c.o.ID); self == nil || !self.Takes() {
		return nil, false, notHere
	}
	if err := cmp.Or(c.o.Works(), c.o.InTouch()); err != nil {
		return nil, false, err
	}
	want := wire.Submission{
		Kind: policies.KindCreate.String(), Class: t.Class, Owner: string(t.Owner), Primary: string(c.o.ID),
	}
	for _, id := range c.o.Reach.Failing() {
		want.Avoid = append(want.Avoid, string(id))
	}
	res, err := c.o.Create(ctx, want)
	if err != nil {
		return nil, false, elsewhere(err)
	}
	id, err := state.ParseOpID(res.Op)
	if err != nil {
		return nil, false, err
	}
	o, err := c.waitEnded(ctx, id)
	if err != nil {
		c.background.askDiscard(state.ExtentID(res.Extent), id) // nobody will write to it
		return nil, false, err
	}
	if err := c.o.checkMadeBy(o, state.ExtentID(res.Extent)); err != nil {
		return nil, false, elsewhere(err)
	}
	e = c.o.Log.View().Extent(o.Extent)
	if o.State != state.OpDone || e == nil {
		return nil, true, wire.Errorf(wire.OpPut, wire.CodeUnavailable,
			"no extent to write to: create %s %s: %s", o.ID, o.State, o.Detail)
	}
	if e.Primary() != c.o.ID { // this node ceased to take extents just now
		c.background.askDiscard(e.ID, id)
		return nil, false, notHere
	}
	return e, false, nil
}

// waitEnded waits until this node has applied the end of an operation.
func (c *creator) waitEnded(ctx context.Context, id state.OpID) (*state.Op, error) {
	if err := c.o.Log.WaitApplied(ctx, id.Index()); err != nil {
		return nil, err
	}
	for {
		changed := c.o.Log.Changed()
		o := c.o.Log.View().Op(id)
		switch {
		case o == nil:
			return nil, wire.Errorf(wire.OpWait, wire.CodeNotFound, "operation %s is unknown, or ended long ago; see log ls", id)
		case o.State.Ended():
			return o, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("operation %s is still %s: %w", id, o.State, ctx.Err())
		}
	}
}

// elsewhere lets a put go on at another node whose create here came to something else: nothing was written.
func elsewhere(err error) error {
	if wire.CodeOf(err) != wire.CodeProtocol {
		return err
	}
	return wire.Errorf(wire.OpPut, wire.CodeUnavailable, "%v", err)
}

// checkMadeBy reports whether an operation is a create of this extent that this node has asked for. Whatever else it is
// was never this node's to write to, nor to discard.
func (opt *Options) checkMadeBy(o *state.Op, id state.ExtentID) error {
	switch {
	case o == nil:
		return wire.Errorf(wire.OpSubmit, wire.CodeNotFound, "the operation that made extent %d ended long ago", id)
	case o.Kind == policies.KindCreate && o.Extent == id && o.Origin == policies.OriginCell &&
		(o.AskedBy == "" || o.AskedBy == opt.Self):
		return nil
	}
	opt.NoteMisuse()
	return &wire.Error{Op: wire.OpSubmit, Code: wire.CodeProtocol, Outcome: wire.Unknown, Detail: fmt.Sprintf(
		"this node asked for a create, and was told of %s (by %s): "+
			"nothing is written to that extent, and it is not discarded",
		o, describe.Person(o.AskedBy))}
}
