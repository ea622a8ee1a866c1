package lead

import (
	"context"
	"sync"

	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// maxPunches bounds the punches that wait for an entry, and maxPunchesEach those of one sharer; more are refused.
	maxPunches     = 4096
	maxPunchesEach = 1024
	// punchedAtOnce is how many ranges go into one entry, give or take those of one punch.
	punchedAtOnce = 4096
)

// puncher puts punches into the log, on the leader. No policy is asked: see state.Punch. All that wait while an entry
// is under way share the next, whoever they are of, so that many small deletes cost few syncs; and one entry of punches
// is under way at a time, so that a storm of them leaves the log to others.
//
// A punch is answered when every other node that is up has applied its entry as well, so that nobody who knows of it is
// given a byte by any of them. A node that does not answer is waited for until it would be called down.
type puncher struct {
	env
	misused *misuse
	reached func(ctx context.Context, node state.NodeID, index state.Index) error // Options.Reached

	answers sync.WaitGroup // the entries that other nodes have yet to apply

	news chan struct{} // holds one token while there may be something in queue

	mu         sync.Mutex
	queue      fair.Queue[*punching] // Guarded by mu.
	turnedAway uint64                // Guarded by mu.
}

// punching is a punch on its way.
type punching struct {
	cmd  *state.Punch
	done chan punched // buffered, one
}

type punched struct {
	res   state.Result
	index state.Index
	err   error // of the proposal: nothing is known of the result
}

func newPuncher(
	e env, m *misuse, reached func(context.Context, state.NodeID, state.Index) error,
) *puncher {
	return &puncher{
		env: e, misused: m, reached: reached, news: make(chan struct{}, 1),
		queue: fair.Queue[*punching]{Most: maxPunches, MostEach: maxPunchesEach},
	}
}

// Punch deletes ranges, and answers in which entry. sharer is whose line the punch waits in.
func (l *Leader) Punch(ctx context.Context, sharer string, cmd *state.Punch) (state.Result, state.Index, error) {
	p := &punching{cmd: cmd, done: make(chan punched, 1)}
	leave := l.puncher.enter(sharer, p)
	if leave == nil {
		return state.Result{}, 0, wire.Errorf(wire.OpPunch, wire.CodeExhausted,
			"%d punches of %s wait already, or %d of all; try again in a moment, with more ranges at once",
			maxPunchesEach, sharer, maxPunches)
	}
	select {
	case got := <-p.done:
		return got.res, got.index, got.err
	case <-ctx.Done():
		late := &wire.Error{Op: wire.OpPunch, Code: wire.CodeDeadline, Outcome: wire.Unknown, Detail: "not deleted in time"}
		if leave() {
			late.Outcome = wire.NotDone
		}
		return state.Result{}, 0, late
	}
}

// enter puts a punch into its sharer's line; nil when that is full. leave reports whether it was still in there.
func (p *puncher) enter(sharer string, one *punching) (leave func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.queue.Push(sharer, one)
	if out == nil {
		p.turnedAway++
		return nil
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
	return func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return out()
	}
}

// batch takes what shares the next entry: sharers take turns.
func (p *puncher) batch() (batch []*punching) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ranges := 0; ranges < punchedAtOnce; {
		_, one, ok := p.queue.Next(nil)
		if !ok {
			break
		}
		batch, ranges = append(batch, one), ranges+max(1, len(one.cmd.Ranges))
	}
	return batch
}

// run puts batch after batch into the log.
func (p *puncher) run(ctx context.Context) {
	defer p.answers.Wait()
	for {
		if batch := p.batch(); len(batch) > 0 {
			p.round(ctx, batch)
			continue
		}
		select {
		case <-p.news:
		case <-ctx.Done():
			return
		}
	}
}

func (p *puncher) round(ctx context.Context, batch []*punching) {
	cmds, own := make([]state.Command, len(batch)), make([]*state.Punch, len(batch))
	for i, one := range batch {
		cmds[i], own[i] = one.cmd, one.cmd
	}
	results, index, err := p.propose(ctx, cmds)
	if err != nil {
		for _, one := range batch {
			one.done <- punched{err: err}
		}
		return
	}
	p.audit.Punches(index, own, results)
	p.answers.Go(func() {
		p.everywhere(ctx, index)
		for i, one := range batch {
			p.misused.count(results[i])
			one.done <- punched{res: results[i], index: index}
		}
	})
}

// everywhere waits until the other nodes that are up have applied an entry, and not for those that cannot be asked:
// one that is gone gives nobody anything, and one that is not ready does not either before it has caught up.
func (p *puncher) everywhere(ctx context.Context, index state.Index) {
	ctx, cancel := context.WithTimeout(ctx, p.times.DownAfter)
	defer cancel()
	var asked sync.WaitGroup
	p.log.View().Nodes(func(n *state.Node) bool {
		if n.State == state.NodeUp && n.ID != p.id {
			asked.Go(func() {
				if err := p.reached(ctx, n.ID, index); err != nil {
					p.logger.Debug("a node has not said that it knows of deletes", "node", n.ID, "index", index, "err", err)
				}
			})
		}
		return true
	})
	asked.Wait()
}

func (p *puncher) propose(ctx context.Context, cmds []state.Command) ([]state.Result, state.Index, error) {
	if !p.log.IsLeader() {
		return nil, 0, wire.Errorf(wire.OpPunch, wire.CodeUnavailable, "%s is not the leader", p.id)
	}
	if err := p.confirm(ctx); err != nil {
		return nil, 0, err
	}
	return p.log.Propose(ctx, cmds...)
}
