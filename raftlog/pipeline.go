package raftlog

import (
	"sync"

	"github.com/hashicorp/raft"
)

// maxUntaken is how many answers a pipeline keeps that the engine does not take. It takes each at once while all is
// well.
const maxUntaken = 64

// pipeline is one of the engine's whose answers are always taken. The engine stops to take them when one says that a
// follower did not append, and may send more before it notices that it has: what it sends then waits for an answer to
// be taken, for ever. That follower got heartbeats and no entries until the next election, and the engine never ended
// its shutdown.
//
// Rejected: to do without pipelines, which is what others do. A follower then has one message under way at a time.
type pipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
}

func newPipeline(of raft.AppendPipeline) *pipeline {
	p := &pipeline{AppendPipeline: of, answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	go p.pass()
	return p
}

// Consumer is where the engine takes the answers, in the order of what was sent.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close ends the pipeline. What was sent and not answered may or may not arrive.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.AppendPipeline.Close()
}

// pass passes answers on, until Close. When too many are not taken it ends the pipeline, so that sending fails and the
// engine begins another.
func (p *pipeline) pass() {
	var untaken []raft.AppendFuture
	came := p.AppendPipeline.Consumer()
	for {
		var to chan<- raft.AppendFuture
		var next raft.AppendFuture
		if len(untaken) > 0 {
			to, next = p.answers, untaken[0]
		}
		select {
		case f := <-came:
			if untaken = append(untaken, f); len(untaken) == maxUntaken {
				_ = p.AppendPipeline.Close() // never fails
			}
		case to <- next:
			untaken = untaken[1:]
		case <-p.closed:
			return
		}
	}
}
