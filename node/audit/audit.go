// Package audit says in a leader's own log who has asked for what was done. The operation log says it as well; this one
// can be sent elsewhere as it is written. Nothing is said where nobody can tell who it was: without certificates.
//
// It has no goroutine and no lock; a Trail may be used from any goroutine.
package audit

import (
	"log/slog"
	"strconv"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// Trail is where it is written.
type Trail struct{ Logger *slog.Logger }

// Command writes about a command that was carried out, alone in the entry at index.
func (t Trail) Command(index state.Index, cmd state.Command) {
	if who := state.AskedBy(cmd); who != "" {
		t.Logger.Info("asked for", "asked_by", string(who), "index", uint64(index), "command", cmd.CommandType().String(),
			"what", describe.Command(state.NewOpID(index, 0), cmd))
	}
}

// Admits writes about the operations that an entry has admitted, by the results of its commands: one line for all
// of a kind that somebody asked for. What the cell's nodes ask for is theirs to do, and not written.
func (t Trail) Admits(index state.Index, cmds []state.Command, results []state.Result) {
	for len(cmds) > 0 {
		first := cmds[0].(*state.Admit)
		count, ops, last := 0, 0, 0
		for count < len(cmds) && sameAsker(first, cmds[count].(*state.Admit)) {
			if res := results[count]; res.Err == nil && (res.Merged || res.Op.Index() == index) {
				ops, last = ops+1, count
			}
			count++
		}
		if ops > 0 && first.AskedBy != "" && first.Origin == policies.OriginUser {
			t.ops(index, cmds[last].(*state.Admit), results[last].Op, ops)
		}
		cmds, results = cmds[count:], results[count:]
	}
}

// Punches writes about ranges that an entry has deleted: one line for all that somebody asked for.
func (t Trail) Punches(index state.Index, cmds []*state.Punch, results []state.Result) {
	for i, c := range cmds {
		if c.AskedBy == "" || i > 0 && cmds[i-1].AskedBy == c.AskedBy {
			continue
		}
		ranges, refused := 0, 0
		for j := i; j < len(cmds) && cmds[j].AskedBy == c.AskedBy; j++ {
			ranges, refused = ranges+len(cmds[j].Ranges), refused+len(results[j].Refused)
		}
		t.Logger.Info("asked for", "asked_by", string(c.AskedBy), "index", uint64(index),
			"command", c.CommandType().String(), "ranges", ranges, "refused", refused, "what", describe.Punch(c))
	}
}

func sameAsker(a, b *state.Admit) bool {
	return a.AskedBy == b.AskedBy && a.Kind == b.Kind && a.Origin == b.Origin &&
		a.Forced == b.Forced && a.Urgent == b.Urgent
}

// ops writes about one operation in full, and of several how many they were, with the last.
func (t Trail) ops(index state.Index, last *state.Admit, op state.OpID, ops int) {
	what := describe.Admit(op, last)
	if ops > 1 {
		what = strconv.Itoa(ops) + " operations, the last: " + what
	}
	t.Logger.Info("asked for", "asked_by", string(last.AskedBy), "index", uint64(index), "command", last.Kind.String(),
		"forced", last.Forced, "urgent", last.Urgent, "what", what)
}
