package describe

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Entry says what is in an entry of the log, also of one that cannot be read.
func Entry(e raftlog.EntryInfo) wire.LogEntry {
	out := Listed(e)
	for i, cmd := range e.Commands {
		raw, err := json.Marshal(cmd)
		if err != nil {
			raw = []byte(`"` + err.Error() + `"`)
		}
		out.Commands[i].JSON = raw
	}
	return out
}

// Listed is Entry without the whole of each command.
func Listed(e raftlog.EntryInfo) wire.LogEntry {
	out := wire.LogEntry{
		Index: uint64(e.Index), Term: e.Term, Micros: int64(e.Micros), Type: e.Kind, Bytes: e.Bytes,
		Commands: make([]wire.LogCommand, len(e.Commands)),
	}
	if e.Err != nil {
		out.Type = "unreadable: " + e.Err.Error()
	}
	for i, cmd := range e.Commands {
		out.Commands[i] = wire.LogCommand{
			Type: cmd.CommandType().String(), Text: Command(state.NewOpID(e.Index, i), cmd),
			AskedBy: string(state.AskedBy(cmd)),
		}
	}
	return out
}

// Verified is what reading a log again came to.
func Verified(r raftlog.VerifyReport) wire.LogVerifyReply {
	out := wire.LogVerifyReply{
		OK: r.Bad == nil, First: uint64(r.First), Last: uint64(r.Last), Entries: int(r.Entries),
		Chain: fmt.Sprintf("%x", r.Chain.Hash),
	}
	switch bad := r.Bad; {
	case bad == nil:
	case bad.From == 0:
		out.Detail = bad.Detail
	default:
		out.Detail = fmt.Sprintf("entries %d to %d: %s", bad.From, bad.To, bad.Detail)
	}
	return out
}

// Outcome is how an attempt ended, in a word.
func Outcome(o state.Outcome) string { return outcomeNames[o] }

var outcomeNames = map[state.Outcome]string{
	state.OutcomeDone: "done", state.OutcomeRetry: "retry", state.OutcomeFail: "failed",
}

// Command is one line that says what a command does. id is the operation it would admit.
func Command(id state.OpID, cmd state.Command) string {
	switch c := cmd.(type) {
	case *state.Genesis:
		return "cell " + c.Cell
	case *state.Admit:
		return Admit(id, c)
	case *state.Start:
		if c.Source != "" {
			return fmt.Sprintf("op=%s from=%s to=%s", c.Op, c.Source, c.Target)
		}
		if c.Executor != "" {
			return fmt.Sprintf("op=%s on=%s", c.Op, c.Executor)
		}
		return fmt.Sprintf("op=%s", c.Op)
	case *state.Finish:
		return fmt.Sprintf("op=%s fence=%d %s %s", c.Op, c.Fence, outcomeNames[c.Outcome], c.Detail)
	case *state.Cancel:
		return fmt.Sprintf("op=%s %s", c.Op, c.Note)
	case *state.Reorder:
		if c.Before == 0 {
			return fmt.Sprintf("op=%s first", c.Op)
		}
		return fmt.Sprintf("op=%s before=%s", c.Op, c.Before)
	case *state.Gone:
		return fmt.Sprintf("extent=%d node=%s", c.Extent, c.Node)
	case *state.Suspect:
		return fmt.Sprintf("extent=%d node=%s %s", c.Extent, c.Node, c.Note)
	case *state.Rescore:
		return fmt.Sprintf("op=%s priority=%d cost=%d %s", c.Op, c.Decision.Priority, c.Decision.Cost, c.Decision.Reason)
	case *state.Join:
		return fmt.Sprintf("node=%s addr=%s voter=%t", c.Node, c.Addr, c.Voter)
	case *state.SetNodeState:
		return fmt.Sprintf("node=%s %s", c.Node, c.State)
	case *state.SetVoter:
		return fmt.Sprintf("node=%s voter=%t", c.Node, c.Voter)
	case *state.OpenSession:
		return fmt.Sprintf("session=%d client=%s", id, c.Client)
	case *state.Set:
		return fmt.Sprintf("%s=%s", c.Key, c.Value)
	case *state.LoadPolicy:
		return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.Name, c.Version, c.Digest, policies.ConfigText(c.Config)))
	case *state.ActivatePolicy:
		return c.Digest
	case *state.Punch:
		return Punch(c)
	case *state.Pause:
		return pause(c)
	case *state.Undelete:
		return fmt.Sprintf("extent=%d", c.Extent)
	case *state.EndGrace:
		return "extents=" + graceEnds(c)
	case *state.RemoveNode:
		return fmt.Sprintf("node=%s forced=%t %s", c.Node, c.Forced, c.Note)
	case *state.Recovered:
		return recovered(c)
	}
	return ""
}

// Admit is one line about an operation that is admitted under an ID.
func Admit(id state.OpID, c *state.Admit) string {
	s := fmt.Sprintf("op=%s %s", id, c.Kind)
	if c.Extent != 0 {
		s += fmt.Sprintf(" extent=%d", c.Extent)
	}
	if c.Node != "" {
		s += " node=" + string(c.Node)
	}
	if c.Urgent {
		s += " urgent"
	}
	if c.Start {
		s += " start"
	}
	if c.GraceMicros != 0 {
		s += " grace=" + c.GraceMicros.Duration().String()
	}
	s += fmt.Sprintf(" priority=%d cost=%d reason=%q", c.Decision.Priority, c.Decision.Cost, c.Decision.Reason)
	for _, k := range c.Decision.Conflicts {
		s += fmt.Sprintf(" %s=%s", k.Final, k.With)
	}
	return s
}

// graceEnds names the extents whose grace ends, the first of many.
func graceEnds(c *state.EndGrace) string {
	var names []string
	for i, id := range c.Extents {
		if i == punchesNamed {
			return fmt.Sprintf("%s and %d more", strings.Join(names, ","), len(c.Extents)-i)
		}
		names = append(names, fmt.Sprint(id))
	}
	return strings.Join(names, ",")
}

// recovered says who has a vote, and where everybody is.
func recovered(c *state.Recovered) string {
	list := func(members []state.Member) string {
		var all []string
		for _, m := range members {
			name := string(m.Node) + "=" + m.Addr
			if !m.Voter {
				name += " (no vote)"
			}
			all = append(all, name)
		}
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("members %s, before %s; lossy=%t %s", list(c.Members), list(c.Before), c.Lossy, c.Note)
}

// pause says for how long a node is paused, or that it is not any more.
func pause(c *state.Pause) string {
	switch {
	case c.For > 0:
		return fmt.Sprintf("node=%s for=%s forced=%t", c.Node, c.For.Duration(), c.Forced)
	case c.Until != 0:
		return fmt.Sprintf("node=%s over", c.Node)
	}
	return fmt.Sprintf("node=%s resumed", c.Node)
}
