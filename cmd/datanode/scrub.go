package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// scrubPatience is how long show waits for a node's own word. What the cell knows about it is shown without.
const scrubPatience = 2 * time.Second

// shownNode is a node with what only itself can tell.
type shownNode struct {
	wire.Node
	Scrub *wire.ScrubReply `json:"scrub,omitempty"` // none from a node that does not answer
}

// scrubOf is how far a node's scrub is, nil when the node does not say.
func scrubOf(ctx context.Context, c *client.Client, n wire.Node, extent uint64) *wire.ScrubReply {
	if n.State != "up" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, scrubPatience)
	defer cancel()
	reply, err := c.Scrub(ctx, n.ID, extent)
	if err != nil {
		return nil
	}
	return &reply
}

func scrubFields(s *wire.ScrubReply) []term.Field {
	if s == nil {
		return []term.Field{{"scrub", "not known: the node does not tell"}}
	}
	return []term.Field{
		{"scrub", scrubText(s)}, {"scrub read", fmt.Sprintf("%d bytes since the node started", s.Bytes)},
		{"scrub found damaged", term.Count(int(s.Damage))},
		{"last full scrub", cmp.Or(term.Stamp(s.Full), "never")}, {"log verified", cmp.Or(term.Stamp(s.Log), "never")},
	}
}

func scrubText(s *wire.ScrubReply) string {
	switch {
	case s.Pace == 0:
		return "off; see settings get scrub-pace"
	case s.Began == 0:
		return "rests between two rounds"
	}
	return fmt.Sprintf("%d of %d replicas in the round that began %s, at %s bytes a second at most", s.Done, s.Of,
		term.Stamp(s.Began), state.UnitsText(s.Pace))
}

// shownExtent is an extent with when its replicas were verified.
type shownExtent struct {
	wire.Extent
	Verified []verifiedDate `json:"verified"`
}

// verifiedDate is when a node has last read its whole replica and found it to be what the log says.
type verifiedDate struct {
	Node   string `json:"node"`
	Known  bool   `json:"known"`           // the node has answered
	Micros int64  `json:"verified_micros"` // 0: never
}

func verifiedDates(ctx context.Context, c *client.Client, e wire.Extent) ([]verifiedDate, error) {
	dates := []verifiedDate{}
	if e.State != "sealed" {
		return dates, nil
	}
	for _, r := range e.Replicas {
		d := verifiedDate{Node: r.Node}
		if s := scrubOf(ctx, c, wire.Node{ID: r.Node, State: r.NodeState}, e.ID); s != nil {
			d.Known, d.Micros = true, s.Verified
		}
		dates = append(dates, d)
	}
	return dates, ctx.Err()
}

func datesText(dates []verifiedDate) string {
	var all []string
	for _, d := range dates {
		when := "not known"
		if d.Known {
			when = cmp.Or(term.Stamp(d.Micros), "never")
		}
		all = append(all, d.Node+" "+when)
	}
	return strings.Join(all, ", ")
}
