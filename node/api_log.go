package node

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/fair"
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
	done, err := n.turn(ctx, c, fair.WorkLists)
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
		return page.add(cutEntry(describe.Entry(e), skip))
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

func (n *Node) serveLogVerify(ctx context.Context, c *mux.ServerCall, req wire.LogVerifyRequest) error {
	if relayed, err := n.atNode(ctx, c, req.Node); relayed {
		return err
	}
	done, err := n.turn(ctx, c, fair.WorkLog)
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
	done, err := n.turn(ctx, c, fair.WorkLists)
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
