package raftlog

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// maxWaiting is how many proposals may wait for the committer; further callers block.
	maxWaiting = 1024
	// An entry is closed at whichever comes first.
	maxEntryCommands = 4096
	maxEntryBytes    = 512 << 10
	// enqueueTimeout is how long the engine's main loop may take to accept an entry.
	enqueueTimeout = 10 * time.Second
)

// proposal is one caller's commands on their way into an entry.
type proposal struct {
	count   int
	encoded []byte      // count elements of a body
	level   state.Level // that a node must have to carry it out
	taken   atomic.Bool
	done    chan outcome // one value, buffered
}

// take decides, once, whether the proposal goes into an entry or its caller gives up.
func (p *proposal) take() bool { return p.taken.CompareAndSwap(false, true) }

type outcome struct {
	results []state.Result
	index   state.Index
	term    uint64 // of the entry
	err     error
}

// Propose puts commands into the log, in one entry and in order, and answers what each came to once
// the entry is applied here. The entry, whose index it answers, may hold other callers' commands
// too: those that came while an earlier one was under way share one. Only the leader can propose.
// Errors are of type *wire.Error; their Outcome says whether the commands may have been carried out.
func (g *Group) Propose(ctx context.Context, commands ...state.Command) ([]state.Result, state.Index, error) {
	p := &proposal{count: len(commands), level: state.LevelOf(commands), done: make(chan outcome, 1)}
	for _, c := range commands {
		var err error
		if p.encoded, err = appendCommand(p.encoded, c); err != nil {
			return nil, 0, wire.Errorf(wire.OpPropose, wire.CodeInternal, "%s", err.Error())
		}
	}
	if p.count > maxEntryCommands || len(p.encoded) > maxEntryBytes {
		return nil, 0, wire.Errorf(wire.OpPropose, wire.CodeInvalid,
			"%d commands of %d bytes do not fit an entry, which takes %d and %d",
			p.count, len(p.encoded), maxEntryCommands, maxEntryBytes)
	}
	if err := g.Err(); err != nil {
		return nil, 0, unavailable(wire.NotDone, "%s", err.Error())
	}
	if !g.IsLeader() {
		return nil, 0, g.notLeader()
	}
	if id, lowest := g.View().LowestWithout(commands); p.level > lowest {
		return nil, 0, wire.Errorf(wire.OpPropose, wire.CodePrecondition,
			"this takes commands of level %d, and the build of node %s carries out those up to %d; "+
				"run a newer build on it first",
			p.level, id, lowest)
	}
	o := g.submit(ctx, p)
	return o.results, o.index, o.err
}

// Barrier waits until every entry that was agreed on before the call is applied here. It also
// proves that this node is still the leader.
func (g *Group) Barrier(ctx context.Context) error {
	_, _, err := g.Propose(ctx)
	return err
}

func (g *Group) submit(ctx context.Context, p *proposal) outcome {
	hangs := g.hang.begun()
	select {
	case g.proposals <- p:
	case <-ctx.Done():
		return outcome{err: fromContext(ctx, wire.NotDone)}
	case <-g.closing:
		return outcome{err: unavailable(wire.NotDone, "%s", errClosed.Error())}
	case <-g.failed:
		return outcome{err: unavailable(wire.NotDone, "%s", g.failErr.Error())}
	case <-hangs:
		return outcome{err: unavailable(wire.NotDone, "%s", errHangs.Error())}
	}
	select {
	case o := <-p.done:
		return o
	case <-ctx.Done():
		return outcome{err: fromContext(ctx, g.giveUp(p))}
	case <-g.failed:
		return outcome{err: unavailable(g.giveUp(p), "%s", g.failErr.Error())}
	case <-hangs:
		return outcome{err: unavailable(g.giveUp(p), "%s", errHangs.Error())}
	case <-g.closing:
	}
	if p.take() {
		return outcome{err: unavailable(wire.NotDone, "%s", errClosed.Error())}
	}
	return <-p.done // Close waits for it, or for fail
}

// giveUp says what is known of a proposal whose caller does not wait any longer.
func (g *Group) giveUp(p *proposal) wire.Outcome {
	if p.take() {
		return wire.NotDone
	}
	return wire.Unknown
}

// commit is the committer: it makes an entry of what waits, sees it through, and hands out the results. Every decision
// of the cell goes through here.
//
// Goal. An entry costs a sync on a majority of the voters, however many commands it has: many callers at once should
// cost few entries. A caller alone should wait for its own entry, and for nothing else.
//
// Invariants.
//   - A proposal is in one entry or in none. Whoever takes it first decides, the committer or the caller that gives up:
//     a caller that takes its own knows that nothing was done, and one that comes too late that it is unknown.
//   - Its commands are in one entry, in order and without others between, so that results are handed out by count.
//   - One entry of the committer is under way at a time; it is applied here, or has failed, before the next is made.
//   - Each proposal that the committer has taken gets one outcome, and giving it out never blocks.
//
// Order of steps.
//  1. The caller encodes its commands, and checks that they fit an entry and that every node can carry them out.
//  2. The proposal waits in a bounded queue; when that is full, callers wait in front of it.
//  3. The committer takes the first proposal and all that are there behind it, as far as they fit one entry (gather).
//  4. The entry gets the time, the highest level of its commands, its checksum, and where this leader's chain stands.
//  5. raft makes it durable on a majority, and it is applied here (apply). Only then is anybody answered.
//  6. Each caller gets its part of the results (handOut), and the committer looks for more. When there is nothing, it
//     has the other nodes told that the entry is agreed on (teller).
//
// Rejected. A second entry on its way meanwhile is the obvious thing to do, and was slower: it makes the entries
// smaller, and each costs every node a sync. For 512 callers, 21 us a proposal with one, 29 with two, 37 with three. To
// wait a moment for more callers would delay one that is alone, and others gather anyway while an entry is under way.
// To encode in the committer would put the work of all callers behind each other.
func (g *Group) commit() {
	defer g.calls.Done()
	var next *proposal // taken, but did not fit the last entry
	for {
		if next == nil {
			select {
			case next = <-g.proposals:
			case <-g.closing:
				return
			}
			if !next.take() {
				next = nil
				continue
			}
		}
		var batch []*proposal
		batch, next = g.gather(next)
		all := g.apply(g.entryOf(batch))
		handOut(batch, all)
		if all.err == nil && next == nil && len(g.proposals) == 0 { // else the next entry says it
			g.teller.tell(uint64(all.index), all.term)
		}
	}
}

// gather takes what waits, as far as it fits one entry with first. over was taken and did not fit.
func (g *Group) gather(first *proposal) (batch []*proposal, over *proposal) {
	batch = []*proposal{first}
	count, bytes := first.count, len(first.encoded)
	for {
		select {
		case p := <-g.proposals:
			if !p.take() {
				continue
			}
			count, bytes = count+p.count, bytes+len(p.encoded)
			if count > maxEntryCommands || bytes > maxEntryBytes {
				return batch, p
			}
			batch = append(batch, p)
		default:
			return batch, nil
		}
	}
}

func (g *Group) entryOf(batch []*proposal) []byte {
	count, bytes, level := 0, 0, state.LevelFirst
	for _, p := range batch {
		count, bytes, level = count+p.count, bytes+len(p.encoded), max(level, p.level)
	}
	body := appendBodyHead(make([]byte, 0, bytes+8), count)
	for _, p := range batch {
		body = append(body, p.encoded...)
	}
	return AppendEntry(make([]byte, 0, len(body)+entryHeadBytes+entryTailBytes), Entry{
		Version: uint8(level), Type: EntryCommands, Group: cellGroup, Micros: g.Now(), Body: body,
	})
}

// apply puts an entry into the log and waits until it is applied here. It hides that an entry which
// the state machine cannot read comes back as a response.
func (g *Group) apply(entry []byte) outcome {
	f := g.raft.ApplyLog(raft.Log{Data: entry, Extensions: appendBase(nil, g.Chain())}, enqueueTimeout)
	if err := f.Error(); err != nil {
		return outcome{err: g.fromRaft(err)}
	}
	switch r := f.Response().(type) {
	case applied:
		return outcome{results: r.results, index: state.Index(f.Index()), term: r.term}
	case error:
		return outcome{err: unavailable(wire.Unknown, "%s", r.Error())}
	default:
		return outcome{err: unavailable(wire.Unknown, "the state machine answered a %T", r)}
	}
}

// handOut gives each proposal its own part of the entry's results.
func handOut(batch []*proposal, all outcome) {
	for _, p := range batch {
		own := all
		if all.err == nil {
			own.results, all.results = all.results[:p.count:p.count], all.results[p.count:]
		}
		p.done <- own
	}
}
