// Command gold-class-first is a policy: extents with the class "gold" are served before all others,
// and a delete waits for a repair that already runs. The class can be configured as "class".
package main

import "github.com/datanode/datanode/plugins/guest"

const (
	reasonPreferred guest.Reason = iota + 1
	reasonRepair
	reasonAnswer
	reasonDelete
	reasonRest

	reasonRepairEnds
	reasonDeleteWins
	reasonDeleted
	reasonSame
	reasonInLine
	reasonPreferredRepair
)

var _ = guest.Register(guest.Policy{
	Name:    "gold-class-first",
	Version: "1",
	Reasons: []string{
		reasonPreferred - 1:       "its class is preferred",
		reasonRepair - 1:          "redundancy is lost",
		reasonAnswer - 1:          "somebody waits for the answer",
		reasonDelete - 1:          "a client asked to delete",
		reasonRest - 1:            "can wait",
		reasonRepairEnds - 1:      "a delete waits for a repair that runs",
		reasonDeleteWins - 1:      "a delete ends all but a running repair",
		reasonDeleted - 1:         "it is being deleted",
		reasonSame - 1:            "asked for twice",
		reasonInLine - 1:          "one after the other",
		reasonPreferredRepair - 1: "a preferred repair does not wait for a move",
	},
	ConfigSchema: `{"type":"object","properties":{"class":{"type":"string","maxLength":16}}}`,
	Score:        score,
	Conflict:     conflict,
})

// preferred is the class that goes first. It is read once: a configuration never changes while an
// instance lives.
var preferred = func() string {
	if class, ok := guest.Config("class"); ok {
		return class
	}
	return "gold"
}()

// Ranks. Everything of the preferred class goes before everything else, and keeps its rank within.
const (
	preferredBonus = 1_000_000
	rankAnswer     = 40_000
	rankRepair     = 30_000
	rankDelete     = 20_000
	perMissingCopy = 1000
	longestWait    = 500 // seconds, one point each
	perAttempt     = 2
)

func score(f *guest.Facts) (int32, guest.Reason) {
	priority, reason := rank(f)
	priority += int32(min(max(f.WaitingMicros, 0)/1_000_000, longestWait)) - int32(f.Attempts)*perAttempt
	if f.ClassString() == preferred {
		return priority + preferredBonus, reasonPreferred
	}
	return priority, reason
}

func rank(f *guest.Facts) (int32, guest.Reason) {
	switch f.Kind {
	case guest.Create, guest.Seal, guest.Decommission, guest.Recommission:
		return rankAnswer, reasonAnswer
	case guest.Repair:
		if missing := f.MissingReplicas(); missing > 0 && f.LiveReplicas > 0 {
			return rankRepair + int32(min(missing, 9))*perMissingCopy, reasonRepair
		}
	case guest.Delete:
		if f.Origin == guest.ByUser {
			return rankDelete, reasonDelete
		}
	}
	return 0, reasonRest
}

func conflict(existing, incoming *guest.Facts, sameNode bool) (guest.Verdict, guest.Reason) {
	same := existing.Kind == incoming.Kind
	switch {
	case existing.Kind == guest.Delete && same:
		return guest.Merge, reasonSame
	case existing.Kind == guest.Delete:
		return guest.Reject, reasonDeleted
	case existing.Kind == guest.Create:
		return guest.Wait, reasonInLine
	case incoming.Kind == guest.Delete:
		if existing.Kind == guest.Repair && existing.Phase == guest.Running {
			return guest.Wait, reasonRepairEnds
		}
		return guest.Supersede, reasonDeleteWins
	case same && existing.Kind != guest.Punch && (existing.Kind != guest.Move || sameNode):
		return guest.Merge, reasonSame
	case existing.Kind == guest.Move && incoming.Kind == guest.Repair && incoming.ClassString() == preferred:
		return guest.Supersede, reasonPreferredRepair
	case existing.Kind == guest.Decommission && incoming.Kind == guest.Recommission:
		return guest.Supersede, reasonInLine
	}
	return guest.Wait, reasonInLine
}

func main() {} // never run: a policy is only asked
