package report

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// AtOnce is how many commands go into one call to the leader.
	AtOnce = 256
	// MaxDetailBytes bounds the text of a report, so that a full batch of them fits an entry.
	MaxDetailBytes = 1024

	maxWaiting    = 4096 // to be sent; more wait to be queued
	retryPause    = 100 * time.Millisecond
	batchAttempts = 50 // of one batch, before its senders learn that it has failed
)

// Propose brings commands into the log, and answers what each came to.
type Propose func(context.Context, []state.Command) (wire.ProposeReply, error)

// Queue gathers commands and proposes them in batches, each until the leader has taken it. Its methods may be called
// from any goroutine.
type Queue struct {
	propose Propose
	clock   clock.Clock
	queue   chan queued
}

type queued struct {
	cmd  state.Command
	done chan Answer // buffered, one
}

// Answer is what became of a command.
type Answer struct {
	Result wire.ProposeResult
	Index  state.Index // of the entry that carries it
	Err    error
}

// NewQueue makes a queue. Nothing is sent before it runs.
func NewQueue(propose Propose, c clock.Clock) *Queue {
	return &Queue{propose: propose, clock: c, queue: make(chan queued, maxWaiting)}
}

// Propose hands a command to the leader and waits for what it came to.
func (q *Queue) Propose(ctx context.Context, cmd state.Command) Answer {
	w := queued{cmd: cmd, done: make(chan Answer, 1)}
	select {
	case q.queue <- w:
	case <-ctx.Done():
		return Answer{Err: ctx.Err()}
	}
	select {
	case a := <-w.done:
		return a
	case <-ctx.Done():
		return Answer{Err: ctx.Err()}
	}
}

// Note hands a command to the leader without waiting. When too many wait already it is lost: only
// for what will be seen again.
func (q *Queue) Note(cmd state.Command) {
	select {
	case q.queue <- queued{cmd: cmd, done: make(chan Answer, 1)}:
	default:
	}
}

// Run sends what has gathered while the last batch was under way. Several batches under way at once are the obvious
// thing to do, since the leader puts them into its next entry: that made entries smaller, and creates and deletes 3 to
// 15 % slower, in each of three comparisons.
func (q *Queue) Run(ctx context.Context) {
	for {
		var batch []queued
		select {
		case w := <-q.queue:
			batch = append(batch, w)
		case <-ctx.Done():
			return
		}
		for len(batch) < AtOnce && len(q.queue) > 0 {
			batch = append(batch, <-q.queue)
		}
		q.send(ctx, batch)
	}
}

func (q *Queue) send(ctx context.Context, batch []queued) {
	cmds := make([]state.Command, len(batch))
	for i, w := range batch {
		cmds[i] = w.cmd
	}
	var reply wire.ProposeReply
	var err error
	for range batchAttempts {
		reply, err = q.propose(ctx, cmds)
		if err == nil || ctx.Err() != nil || wire.CodeOf(err) == wire.CodeDenied {
			break
		}
		select {
		case <-q.clock.After(retryPause):
		case <-ctx.Done():
		}
	}
	if wire.CodeOf(err) == wire.CodeDenied && len(batch) > 1 { // the others must not suffer for one
		for _, w := range batch {
			q.send(ctx, []queued{w})
		}
		return
	}
	for i, w := range batch {
		if err != nil {
			w.done <- Answer{Err: err}
			continue
		}
		w.done <- Answer{Result: reply.Results[i], Index: state.Index(reply.Index)}
	}
}
