package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	logPage      = 500       // entries of one answer, at most
	logPageBytes = 512 << 10 // of their commands as text: an entry of 256 decisions has 170 KiB, a frame 1 MiB
)

func (n *Node) serveLogList(ctx context.Context, c *mux.ServerCall, req wire.LogRequest) error {
	if relayed, err := n.atNode(ctx, c, req.Node); relayed {
		return err
	}
	done, err := n.turn(ctx, c, workLists)
	if err != nil {
		return err
	}
	defer done()
	limit := uint64(logPage)
	if req.Limit > 0 {
		limit = min(limit, uint64(req.Limit))
	}
	last := uint64(n.log.AppliedIndex())
	to := last
	if req.To != 0 {
		to = min(to, req.To)
	}
	from := req.From
	if from == 0 {
		from = to - min(to, limit) + 1
	}
	to = min(to, from+limit-1)
	reply := wire.LogReply{Node: string(n.id), Last: last}
	first, err := n.log.FirstIndex()
	if err != nil {
		return err
	}
	reply.First = uint64(first)
	from = max(from, reply.First)
	if from > to {
		return c.Reply(&reply, nil)
	}
	page := logEntries{newest: req.From == 0}
	err = n.log.Entries(state.Index(from), state.Index(to), func(e raftlog.EntryInfo) bool {
		skip := 0
		if uint64(e.Index) == req.From {
			skip = req.Skip
		}
		return page.add(cutEntry(describeEntry(e), skip))
	})
	reply.Entries = page.entries
	if err != nil {
		return wire.Errorf(c.Op(), wire.CodeCorrupt, "read the log of %s: %v", n.id, err)
	}
	return c.Reply(&reply, nil)
}

// logEntries is a page that fits a frame: the first entries that it is given, or the newest ones. There is at
// least one.
type logEntries struct {
	newest  bool
	entries []wire.LogEntry
	bytes   int
}

// add tells whether to go on.
func (p *logEntries) add(e wire.LogEntry) bool {
	size := entryBytes(e)
	if !p.newest && len(p.entries) > 0 && p.bytes+size > logPageBytes {
		return false
	}
	p.entries, p.bytes = append(p.entries, e), p.bytes+size
	for len(p.entries) > 1 && p.bytes > logPageBytes {
		p.bytes -= entryBytes(p.entries[0])
		p.entries = p.entries[1:]
	}
	return true
}

func entryBytes(e wire.LogEntry) (n int) {
	for _, cmd := range e.Commands {
		n += commandBytes(cmd)
	}
	return n
}

func commandBytes(c wire.LogCommand) int { return len(c.Text) + len(c.JSON) + len(c.AskedBy) }

// cutEntry is the part of an entry after its first skip commands that fits a page, one command at least.
func cutEntry(e wire.LogEntry, skip int) wire.LogEntry {
	rest := e.Commands[min(max(skip, 0), len(e.Commands)):]
	n, bytes := 0, 0
	for n < len(rest) && (n == 0 || bytes+commandBytes(rest[n]) <= logPageBytes) {
		bytes += commandBytes(rest[n])
		n++
	}
	e.Commands, e.More = rest[:n], len(rest)-n
	return e
}

func describeEntry(e raftlog.EntryInfo) wire.LogEntry {
	out := wire.LogEntry{
		Index: uint64(e.Index), Term: e.Term, Micros: int64(e.Micros), Type: e.Kind, Bytes: e.Bytes, Commands: []wire.LogCommand{},
	}
	if e.Err != nil {
		out.Type = "unreadable: " + e.Err.Error()
	}
	for i, cmd := range e.Commands {
		raw, err := json.Marshal(cmd)
		if err != nil {
			raw = []byte(`"` + err.Error() + `"`)
		}
		out.Commands = append(out.Commands, wire.LogCommand{
			Type: cmd.CommandType().String(), Text: describeCommand(state.NewOpID(e.Index, i), cmd), JSON: raw,
			AskedBy: string(state.AskedBy(cmd)),
		})
	}
	return out
}

// describeCommand is one line that says what a command does. id is the operation it would admit.
func describeCommand(id state.OpID, cmd state.Command) string {
	switch c := cmd.(type) {
	case *state.Genesis:
		return "cell " + c.Cell
	case *state.Admit:
		return describeAdmit(id, c)
	case *state.Start:
		if c.Source != "" {
			return fmt.Sprintf("op=%s from=%s to=%s", c.Op, c.Source, c.Target)
		}
		return fmt.Sprintf("op=%s on=%s", c.Op, c.Executor)
	case *state.Finish:
		outcome := map[state.Outcome]string{state.OutcomeDone: "done", state.OutcomeRetry: "retry", state.OutcomeFail: "failed"}[c.Outcome]
		return fmt.Sprintf("op=%s fence=%d %s %s", c.Op, c.Fence, outcome, c.Detail)
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
	case *state.RemoveNode:
		return fmt.Sprintf("node=%s forced=%t %s", c.Node, c.Forced, c.Note)
	case *state.Recovered:
		return describeRecovered(c)
	}
	return ""
}

// describeRecovered says who has a vote, and where everybody is.
func describeRecovered(c *state.Recovered) string {
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

func describeAdmit(id state.OpID, c *state.Admit) string {
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
	s += fmt.Sprintf(" priority=%d cost=%d reason=%q", c.Decision.Priority, c.Decision.Cost, c.Decision.Reason)
	for _, k := range c.Decision.Conflicts {
		s += fmt.Sprintf(" %s=%s", k.Final, k.With)
	}
	return s
}

func (n *Node) serveLogVerify(ctx context.Context, c *mux.ServerCall, req wire.LogVerifyRequest) error {
	if relayed, err := n.atNode(ctx, c, req.Node); relayed {
		return err
	}
	done, err := n.turn(ctx, c, workLog)
	if err != nil {
		return err
	}
	defer done()
	report, err := n.log.Verify(ctx)
	if err != nil {
		return err
	}
	out := wire.LogVerifyReply{
		Node: string(n.id), OK: report.Bad == nil, First: uint64(report.First), Last: uint64(report.Last),
		Entries: int(report.Entries), Chain: fmt.Sprintf("%x", report.Chain.Hash),
	}
	if report.Bad != nil {
		out.Detail = fmt.Sprintf("entries %d to %d: %s", report.Bad.From, report.Bad.To, report.Bad.Detail)
	}
	return c.Reply(&out, nil)
}

func (n *Node) serveLogChain(ctx context.Context, c *mux.ServerCall, req wire.LogChainRequest) error {
	if relayed, err := n.atNode(ctx, c, req.Node); relayed {
		return err
	}
	done, err := n.turn(ctx, c, workLists)
	if err != nil {
		return err
	}
	defer done()
	point := n.log.Chain()
	if req.Index != 0 && state.Index(req.Index) != point.Index {
		var err error
		if point, err = n.log.ChainAt(state.Index(req.Index)); err != nil {
			return err
		}
	}
	first, err := n.log.FirstIndex()
	if err != nil {
		return err
	}
	return c.Reply(&wire.LogChainReply{
		Node: string(n.id), Index: uint64(point.Index), First: uint64(first), Chain: fmt.Sprintf("%x", point.Hash),
	}, nil)
}
