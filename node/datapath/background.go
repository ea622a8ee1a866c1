package datapath

import (
	"context"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// askPause is the pause before something is asked of the cell again.
const askPause = 100 * time.Millisecond

// background submits what the data path wants of the cell and waits for nobody's answer to.
type background struct {
	o      *Options
	wanted chan wanted // Invariant: sends never block
}

// wanted is an operation that is to be submitted.
type wanted struct {
	kind   policies.Kind
	extent state.ExtentID
	made   state.OpID // the create of an extent that nobody has written to; 0: it was written to here
}

func (b *background) askSeal(id state.ExtentID) { b.ask(wanted{kind: policies.KindSeal, extent: id}) }

// askDelete has an extent deleted that this node has written to.
func (b *background) askDelete(id state.ExtentID) {
	b.ask(wanted{kind: policies.KindDelete, extent: id})
}

// askDiscard has an extent deleted that nobody has written to, if it is the one that made has made.
func (b *background) askDiscard(id state.ExtentID, made state.OpID) {
	b.ask(wanted{policies.KindDelete, id, made})
}

func (b *background) ask(w wanted) {
	select {
	case b.wanted <- w:
	default: // as many as can be open wait already: the extent stays as it is until the node restarts
		b.o.Logger.Warn("too many operations wait to be asked for", "kind", w.kind.String(), "extent", uint64(w.extent))
	}
}

// run submits what is wanted, each again until it is admitted or no longer possible.
func (b *background) run(ctx context.Context) {
	for {
		select {
		case w := <-b.wanted:
			b.submit(ctx, w)
		case <-ctx.Done():
			return
		}
	}
}

func (b *background) submit(ctx context.Context, w wanted) {
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, b.o.StepLimit)
		err := b.checkMade(limited, w)
		if err == nil {
			err = b.o.Submit(limited, wire.Submission{Kind: w.kind.String(), Extent: uint64(w.extent)})
		}
		cancel()
		switch wire.CodeOf(err) {
		case wire.CodeUnavailable, wire.CodeConnection, wire.CodeDeadline, wire.CodeExhausted:
		default:
			return // admitted, or no longer possible: somebody else has sealed or deleted it
		}
		select {
		case <-b.o.Clock.After(askPause):
		case <-ctx.Done():
		}
	}
}

// checkMade makes sure, before an extent is deleted that nobody is to write to, that it is the one that this node
// had made: by the log, and not by what somebody answered.
func (b *background) checkMade(ctx context.Context, w wanted) error {
	if w.made == 0 {
		return nil
	}
	if err := b.o.Log.WaitApplied(ctx, w.made.Index()); err != nil {
		return err
	}
	err := b.o.checkMadeBy(b.o.Log.View().Op(w.made), w.extent)
	if err != nil {
		b.o.Logger.Warn("extent not discarded", "extent", uint64(w.extent), "error", err)
	}
	return err
}
