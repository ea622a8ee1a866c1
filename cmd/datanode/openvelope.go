package main

import (
	"slices"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/policies"
	"github.com/spf13/cobra"
)

// envelopeCell is one pair of kinds that can meet, and what is safe then.
type envelopeCell struct {
	Existing  string   `json:"existing"`
	Incoming  string   `json:"incoming"`
	Node      string   `json:"node,omitempty"` // "same" or "other", where it matters which node both take from
	Allowed   []string `json:"allowed"`
	Otherwise string   `json:"otherwise"` // is done instead of what is not allowed
	Reason    string   `json:"reason"`
}

// envelopeCells are all pairs that can meet, in the order of their kinds. "" as a kind is any.
func envelopeCells(existing, incoming string) (cells []envelopeCell) {
	add := func(have, comes policies.Kind, node string, safe policies.Safe) {
		cells = append(cells, envelopeCell{Existing: have.String(), Incoming: comes.String(), Node: node,
			Allowed: strings.Fields(safe.Allowed.String()), Otherwise: safe.Fallback.String(), Reason: safe.Reason})
	}
	for have := policies.KindCreate; have <= policies.KindRecommission; have++ {
		for comes := policies.KindCreate; comes <= policies.KindRecommission; comes++ {
			if !policies.Meet(have, comes) || existing != "" && existing != have.String() ||
				incoming != "" && incoming != comes.String() {
				continue
			}
			same, other := policies.Envelope(have, comes, true), policies.Envelope(have, comes, false)
			if same == other {
				add(have, comes, "", same)
				continue
			}
			add(have, comes, "same", same)
			add(have, comes, "other", other)
		}
	}
	return cells
}

func newOpEnvelopeCommand(a app) *cobra.Command {
	var existing, incoming string
	cmd := &cobra.Command{
		Use: "envelope", Short: "Print which verdicts of a policy are safe, and why", Args: cli.Takes(0, 0),
		Long: `Print what a policy may say when an operation comes for an extent or node that another one holds: the verdicts
that lose nothing, what is done instead of any other, and why. An answer that is not allowed is overruled, and recorded
as such: see op explain. Pairs that are not listed never meet. No node is asked.`,
		Example: "  datanode op envelope\n  datanode op envelope --existing move --incoming repair",
		RunE: func(*cobra.Command, []string) error {
			for _, kind := range []string{existing, incoming} {
				if _, ok := policies.ParseKind(kind); kind != "" && !ok {
					return exit.Usagef("there is no operation %q; want %s", kind, strings.Join(meetingKinds(), ", "))
				}
			}
			return term.List(a.Terminal, term.Items(envelopeCells(existing, incoming)),
				term.Col("EXISTING", func(c envelopeCell) string { return c.Existing }),
				term.Col("INCOMING", func(c envelopeCell) string { return c.Incoming }),
				term.Col("NODE", func(c envelopeCell) string { return c.Node }),
				term.Col("ALLOWED", func(c envelopeCell) string { return strings.Join(c.Allowed, ",") }),
				term.Col("OTHERWISE", func(c envelopeCell) string { return c.Otherwise }),
				term.Col("REASON", func(c envelopeCell) string { return c.Reason }))
		},
	}
	cmd.Flags().StringVar(&existing, "existing", "", "only what meets an operation of this kind that the cell holds")
	cmd.Flags().StringVar(&incoming, "incoming", "", "only what an operation of this kind meets when it comes")
	return cmd
}

// meetingKinds are the kinds that are in the envelope.
func meetingKinds() (kinds []string) {
	for _, c := range envelopeCells("", "") {
		if !slices.Contains(kinds, c.Existing) {
			kinds = append(kinds, c.Existing)
		}
	}
	return kinds
}
