// Command least-redundant-first is a policy: whatever brings the least redundant extent back comes
// first, and a delete ends the work on what it deletes.
package main

import "github.com/datanode/datanode/plugins/guest"

const (
	reasonShort guest.Reason = iota + 1
	reasonShortest
	reasonNoSource
	reasonDelete
	reasonAnswer
	reasonOther

	reasonDeleteWins
	reasonDeleted
	reasonSame
	reasonInLine
	reasonRepairFirst
)

var _ = guest.Register(guest.Policy{
	Name:    "least-redundant-first",
	Version: "1",
	Reasons: []string{
		reasonShort - 1:       "short of copies",
		reasonShortest - 1:    "on its last copy",
		reasonNoSource - 1:    "no copy to read from",
		reasonDelete - 1:      "a delete frees space for repairs",
		reasonAnswer - 1:      "somebody waits for the answer",
		reasonOther - 1:       "redundancy is not at stake",
		reasonDeleteWins - 1:  "a delete ends the work on what it deletes",
		reasonDeleted - 1:     "it is being deleted",
		reasonSame - 1:        "asked for twice",
		reasonInLine - 1:      "one after the other",
		reasonRepairFirst - 1: "a repair goes before a move",
	},
	Score:    score,
	Conflict: conflict,
})

const (
	// perMissingCopy is how much a missing copy counts. It is more than everything else together,
	// so that an extent short of two copies always goes before one that is short of one.
	perMissingCopy  = 1_000_000
	lastCopy        = 500_000
	someoneWaits    = 100_000
	freesSpace      = 50_000
	perMinuteWaited = 10
	longestWait     = 1000 // minutes
	perAttempt      = 200
)

func score(f *guest.Facts) (int32, guest.Reason) {
	base, reason := rank(f)
	waited := min(max(f.WaitingMicros, 0)/60_000_000, longestWait) * perMinuteWaited
	return base + int32(waited) - int32(f.Attempts)*perAttempt, reason
}

func rank(f *guest.Facts) (int32, guest.Reason) {
	missing := int32(f.MissingReplicas())
	switch f.Kind {
	case guest.Repair:
		switch {
		case f.LiveReplicas == 0:
			return -someoneWaits, reasonNoSource
		case missing > 0 && f.LiveReplicas == 1:
			return missing*perMissingCopy + lastCopy, reasonShortest
		case missing > 0:
			return missing * perMissingCopy, reasonShort
		}
	case guest.Delete:
		return freesSpace, reasonDelete
	case guest.Create, guest.Seal, guest.Decommission, guest.Recommission:
		return someoneWaits, reasonAnswer
	}
	return 0, reasonOther
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
		return guest.Supersede, reasonDeleteWins
	case same && (existing.Kind != guest.Move || sameNode):
		return guest.Merge, reasonSame
	case existing.Kind == guest.Move && incoming.Kind == guest.Repair:
		return guest.Supersede, reasonRepairFirst
	case existing.Kind == guest.Decommission && incoming.Kind == guest.Recommission:
		return guest.Supersede, reasonInLine
	}
	return guest.Wait, reasonInLine
}

func main() {} // never run: a policy is only asked
