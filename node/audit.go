package node

import (
	"cmp"
	"strconv"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// aPerson names who asked for something in what people read.
func aPerson(who state.Identity) string { return cmp.Or(string(who), "a client") }

// audit says in the leader's log what somebody has asked for and was done. The operation log says it as well; this
// one can be sent elsewhere as it is written. Nothing is said where nobody can tell who it was.
func (n *Node) audit(index state.Index, cmd state.Command) {
	if who := state.AskedBy(cmd); who != "" {
		n.logger.Info("asked for", "asked_by", string(who), "index", uint64(index), "command", cmd.CommandType().String(),
			"what", describeCommand(state.NewOpID(index, 0), cmd))
	}
}

// auditAdmits is audit of the operations that an entry has admitted: one line for all of a kind that somebody asked for.
// What the cell's nodes ask for is theirs to do, and not told.
func (n *Node) auditAdmits(index state.Index, cmds []state.Command, results []state.Result) {
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
			n.auditOps(index, cmds[last].(*state.Admit), results[last].Op, ops)
		}
		cmds, results = cmds[count:], results[count:]
	}
}

func sameAsker(a, b *state.Admit) bool {
	return a.AskedBy == b.AskedBy && a.Kind == b.Kind && a.Origin == b.Origin && a.Forced == b.Forced && a.Urgent == b.Urgent
}

// auditOps tells of one operation in full, and of several how many they were, with the last.
func (n *Node) auditOps(index state.Index, last *state.Admit, op state.OpID, ops int) {
	what := describeAdmit(op, last)
	if ops > 1 {
		what = strconv.Itoa(ops) + " operations, the last: " + what
	}
	n.logger.Info("asked for", "asked_by", string(last.AskedBy), "index", uint64(index), "command", last.Kind.String(),
		"forced", last.Forced, "urgent", last.Urgent, "what", what)
}
