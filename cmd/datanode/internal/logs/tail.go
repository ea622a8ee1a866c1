package logs

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/datanode/datanode/wire"
)

// tailPause is how long it takes until a node is asked again that had nothing new.
const tailPause = 50 * time.Millisecond

// Tail reads the entries of a cell's log as nodes apply them: each once and in order, whichever node answers.
type Tail struct {
	Source Node
	Filter Filter // without a limit, and not of what was refused
	From   uint64 // the first entry; 0: the newest Lines of those that the filter lets through, and what comes then
	Lines  int
	Follow bool // go on when there is nothing more, until the context ends
	// Skipped is told of entries that nobody has any more: a snapshot has replaced them.
	Skipped func(from, to uint64)
	// Silent is told when no node answers, and with nil when one does again.
	Silent func(error)

	ask   func(context.Context, wire.LogRequest) (wire.LogReply, error)
	pause func(context.Context)
	known stories
	mute  bool // nobody answered the last time
}

// Entries are those that the filter lets through. They end in no error when ctx does.
func (t *Tail) Entries(ctx context.Context) iter.Seq2[wire.LogEntry, error] {
	if t.ask == nil {
		t.ask = t.Source.Client.LogEntries
	}
	if t.pause == nil {
		t.pause = pauseTail
	}
	return func(yield func(wire.LogEntry, error) bool) {
		newest, next, err := t.begin(ctx)
		for _, e := range newest {
			if !yield(e, nil) {
				return
			}
		}
		if err == nil {
			err = t.follow(ctx, next, func(e wire.LogEntry) bool { return yield(e, nil) })
		}
		if err != nil && ctx.Err() == nil {
			yield(wire.LogEntry{}, err)
		}
	}
}

func pauseTail(ctx context.Context) {
	select {
	case <-time.After(tailPause):
	case <-ctx.Done():
	}
}

// begin finds where to begin, and the newest entries before that.
func (t *Tail) begin(ctx context.Context) (newest []wire.LogEntry, next uint64, err error) {
	last, next := t.From-1, t.From
	if t.From == 0 {
		reply, err := t.ask(ctx, wire.LogRequest{Node: t.Source.ID, Limit: 1})
		if err != nil {
			return nil, 0, err
		}
		last, next = reply.Last, reply.Last+1
	}
	t.known = stories{}
	if t.Filter.needsStory() && last > 0 {
		if t.known, err = readStories(ctx, t.Source, &t.Filter, last); err != nil {
			return nil, 0, err
		}
	}
	if t.From > 0 || t.Lines == 0 || last == 0 {
		return nil, next, nil
	}
	for e, err := range t.Source.Entries(ctx, Range{To: last, Reverse: true}) {
		if err != nil {
			return nil, 0, err
		}
		if !t.Filter.takes(e, t.known) {
			continue
		}
		if newest = append(newest, e.Wire()); len(newest) == t.Lines {
			break
		}
	}
	slices.Reverse(newest)
	return newest, next, nil
}

// follow gives out what the filter lets through from an entry on, until show wants no more.
func (t *Tail) follow(ctx context.Context, next uint64, show func(wire.LogEntry) bool) error {
	for ctx.Err() == nil {
		reply, err := t.ask(ctx, wire.LogRequest{Node: t.Source.ID, From: next})
		if goesOn, err := t.heard(err); !goesOn {
			return err
		}
		if err != nil {
			t.pause(ctx)
			continue
		}
		if reply.First > next && reply.Last >= reply.First {
			t.Skipped(next, reply.First-1)
			next = reply.First
		}
		for _, told := range reply.Entries {
			e := Entry{told: told}
			if err := t.learn(ctx, e); err != nil {
				return err
			}
			if t.Filter.takes(e, t.known) && !show(told) {
				return nil
			}
			next = told.Index + 1
		}
		if len(reply.Entries) > 0 && next <= reply.Last {
			continue
		}
		if !t.Follow {
			return nil
		}
		t.pause(ctx)
	}
	return nil
}

// heard judges an answer, and says when nobody answers.
func (t *Tail) heard(err error) (goesOn bool, _ error) {
	switch code := wire.CodeOf(err); {
	case err == nil:
		if t.mute {
			t.mute = false
			t.Silent(nil)
		}
		return true, nil
	case t.Follow && (code == wire.CodeUnavailable || code == wire.CodeConnection || code == wire.CodeExhausted):
		if !t.mute {
			t.mute = true
			t.Silent(err)
		}
		return true, nil
	}
	return false, err
}

// learn notes what later entries name by its operation alone.
func (t *Tail) learn(ctx context.Context, e Entry) error {
	if t.Filter.needsStory() && t.known.note(e, &t.Filter) && len(t.Filter.Extents) > 0 {
		return t.known.findExtents(ctx, t.Source, &t.Filter)
	}
	return nil
}
