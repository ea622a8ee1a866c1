package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// removed is what became of a range.
type removed struct {
	Locator string `json:"locator"`
	Extent  uint64 `json:"extent"`
	Offset  uint64 `json:"offset"`
	Length  uint64 `json:"length"`
	Deleted bool   `json:"deleted"`
	Error   string `json:"error,omitempty"`
}

// removeRanges deletes what locators name. What is refused of them is said, and the others go.
func (w *work) removeRanges(ctx context.Context, c *client.Client, ranges []wire.Locator) error {
	if w.dryRun || !w.yes {
		plans, err := checkRanges(ctx, c, ranges)
		if w.dryRun && plans != nil {
			if said := w.printPlans(plans); said != nil {
				return said
			}
			return err
		}
		if err != nil {
			return err
		}
		if err := w.confirm(ctx, plans, rangesName(ranges), "This cannot be undone"); err != nil {
			return err
		}
	}
	refused, err := c.Delete(ctx, ranges)
	all := make([]removed, len(refused))
	for i, no := range refused {
		l := ranges[i]
		all[i] = removed{Locator: l.String(), Extent: l.Extent, Offset: l.Offset, Length: l.Length, Deleted: no == nil}
		if no != nil {
			all[i].Error = detail(no)
		}
		if err == nil {
			err = no
		}
	}
	if len(ranges) == 1 && err != nil {
		return err
	}
	said := term.List(w.a.Terminal, term.Items(all),
		term.Col("LOCATOR", func(r removed) string { return r.Locator }),
		term.Col("DELETED", func(r removed) string { return term.YesNo(r.Deleted) }),
		term.Col("ERROR", func(r removed) string { return term.OneLine(r.Error) }))
	if said != nil {
		return said
	}
	return err
}

// rangesName is what must be typed: the locator, or how many there are.
func rangesName(ranges []wire.Locator) string {
	if len(ranges) == 1 {
		return ranges[0].String()
	}
	return fmt.Sprintf("%d ranges", len(ranges))
}

// checkRanges are the plans of ranges, and why one of them would be refused.
func checkRanges(ctx context.Context, c *client.Client, ranges []wire.Locator) (plans []plan, first error) {
	refused, err := c.CheckDelete(ctx, ranges)
	if err != nil {
		return nil, err
	}
	for i, no := range refused {
		l := ranges[i]
		p := plan{Kind: "punch", Extent: l.Extent,
			Plan: fmt.Sprintf("delete %d bytes of extent %d at offset %d", l.Length, l.Extent, l.Offset)}
		if no != nil {
			p.Plan, p.Error = "", detail(no)
			if first == nil {
				first = no
			}
		}
		plans = append(plans, p)
	}
	return plans, first
}

// detail is a refusal without the operation that it is about.
func detail(err error) string { return strings.TrimPrefix(err.Error(), wire.OpPunch.String()+": ") }
