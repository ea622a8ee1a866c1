package policies

import "context"

// Reason numbers of the native default. They are recorded in the log: never reused, only appended.
const (
	ReasonUnspecified     uint16 = 0
	ReasonLastCopy        uint16 = 1
	ReasonRedundancyLost  uint16 = 2
	ReasonRedundancyWhole uint16 = 3
	ReasonNoSource        uint16 = 4
	ReasonCreate          uint16 = 5
	ReasonSeal            uint16 = 6
	ReasonDeleteUser      uint16 = 7
	ReasonDeleteCell      uint16 = 8
	ReasonPunch           uint16 = 9
	ReasonMoveEmpties     uint16 = 10
	ReasonMoveBalances    uint16 = 11
	ReasonNodeOperation   uint16 = 12
	ReasonUnknownKind     uint16 = 13

	ReasonNothingAfterDelete uint16 = 14
	ReasonAskedTwice         uint16 = 15
	ReasonDeleteEndsWork     uint16 = 16
	ReasonNotThereYet        uint16 = 17
	ReasonOneAtATime         uint16 = 18
	ReasonLastCopyFirst      uint16 = 19
	ReasonMoveYields         uint16 = 20
	ReasonRecommissionEnds   uint16 = 21
	ReasonNodeLeaves         uint16 = 22
	ReasonNodeReturns        uint16 = 23
	ReasonNoRule             uint16 = 24
)

// nativeReasons is indexed by the constants above.
var nativeReasons = [...]string{
	"unspecified",
	"repair: one live copy is left",
	"repair: redundancy is lost",
	"repair: redundancy is whole",
	"repair: no live copy to read from",
	"create: a client waits",
	"seal: writing goes on after it",
	"delete: asked for by a client",
	"delete: the cell frees space",
	"punch: frees space",
	"move: a node is being emptied",
	"move: balances",
	"node operation: cheap, an operator waits",
	"unknown kind",
	"nothing overtakes a delete",
	"asked for twice",
	"a delete ends the work on what it deletes",
	"the extent is still being created",
	"one operation at a time changes an extent",
	"the last copy is repaired before it is moved",
	"a queued move yields to a repair",
	"a recommission ends the decommission",
	"the node is leaving",
	"the node is still returning",
	"no rule for this pair",
}

// Priorities of the native default. Bands are at least bandWidth apart and age and attempts move an
// operation by less than half of that, so that no operation ever leaves its band: a move that has
// waited for a week still starts after a repair.
const (
	bandWidth = 1000

	bandLastCopy   = 11000
	bandCreate     = 10000
	bandSeal       = 9000
	bandDeleteUser = 8000
	bandNode       = 7000
	bandRepair     = 6000 // with two live copies; a band lower for each further one, down to bandRepairLow
	bandRepairLow  = 4000
	bandDeleteCell = 3000
	bandPunch      = 2000
	bandMoveAway   = 1000
	bandWhole      = 0
	bandMove       = 0
	bandNoSource   = -1000
	bandUnknown    = -2000

	agePerPointMicros = 10_000_000 // one point for ten seconds in the queue
	ageMost           = 400        // reached after 67 minutes
	attemptCost       = 100
	attemptsMost      = 4
)

type native struct{}

// Native is the policy that is compiled in: it decides while no other is active, and every batch
// that another one failed to answer. It never fails and always answers inside the envelope.
//
// It uses nothing but comparisons and integer arithmetic on single facts, so that
// plugins/default/default.c can say the same in C and be compared with it.
func Native() Policy { return native{} }

func (native) Info() Info {
	return Info{Name: "default", Version: "1", Digest: "native", Reasons: nativeReasons[:]}
}

func (native) Score(_ context.Context, facts []Facts, out []Score) (uint64, error) {
	for i := range facts {
		out[i] = nativeScore(&facts[i])
	}
	return 0, nil
}

func (native) Conflict(_ context.Context, pairs []Pair, out []Resolution) (uint64, error) {
	for i := range pairs {
		out[i] = nativeConflict(&pairs[i])
	}
	return 0, nil
}

// nativeScore is the band of the operation, a little higher with age, a little lower with each
// start that came to nothing.
func nativeScore(f *Facts) Score {
	s := nativeBand(f)
	if f.WaitingMicros > 0 {
		s.Priority += int32(min(f.WaitingMicros/agePerPointMicros, ageMost))
	}
	s.Priority -= int32(min(f.Attempts, attemptsMost)) * attemptCost
	return s
}

func nativeBand(f *Facts) Score {
	switch f.Kind {
	case KindCreate:
		return Score{bandCreate, ReasonCreate}
	case KindSeal:
		return Score{bandSeal, ReasonSeal}
	case KindRepair:
		return nativeRepair(f)
	case KindMove:
		if f.Origin == OriginDecommission {
			return Score{bandMoveAway, ReasonMoveEmpties}
		}
		return Score{bandMove, ReasonMoveBalances}
	case KindDelete:
		if f.Origin == OriginUser {
			return Score{bandDeleteUser, ReasonDeleteUser}
		}
		return Score{bandDeleteCell, ReasonDeleteCell}
	case KindPunch:
		return Score{bandPunch, ReasonPunch}
	case KindDecommission, KindRecommission:
		return Score{bandNode, ReasonNodeOperation}
	}
	return Score{bandUnknown, ReasonUnknownKind}
}

// nativeRepair puts the fewest live copies first. Without any there is nothing to copy from, and
// trying would only take a place from a repair that can help.
func nativeRepair(f *Facts) Score {
	switch live := int32(f.LiveReplicas); {
	case live == 0:
		return Score{bandNoSource, ReasonNoSource}
	case f.LiveReplicas >= f.WantReplicas:
		return Score{bandWhole, ReasonRedundancyWhole}
	case live == 1:
		return Score{bandLastCopy, ReasonLastCopy}
	default:
		return Score{max(bandRepair-bandWidth*(live-2), bandRepairLow), ReasonRedundancyLost}
	}
}

// nativeConflict lets a delete win, makes one operation of two that ask the same, and lets
// everything else wait.
func nativeConflict(p *Pair) Resolution {
	existing, incoming := p.Existing.Kind, p.Incoming.Kind
	switch existing {
	case KindCreate:
		return Resolution{Wait, ReasonNotThereYet}
	case KindDelete:
		if incoming == KindDelete {
			return Resolution{Merge, ReasonAskedTwice}
		}
		return Resolution{Reject, ReasonNothingAfterDelete}
	case KindSeal, KindRepair, KindMove, KindPunch:
		return nativeExtentConflict(p, existing, incoming)
	case KindDecommission:
		switch incoming {
		case KindDecommission:
			return Resolution{Merge, ReasonAskedTwice}
		case KindRecommission:
			return Resolution{Supersede, ReasonRecommissionEnds}
		}
		return Resolution{Reject, ReasonNodeLeaves}
	case KindRecommission:
		switch incoming {
		case KindRecommission:
			return Resolution{Merge, ReasonAskedTwice}
		case KindDecommission:
			return Resolution{Wait, ReasonNodeReturns}
		}
	}
	return Resolution{Reject, ReasonNoRule}
}

// nativeExtentConflict is about an extent that exists and is not being deleted.
func nativeExtentConflict(p *Pair, existing, incoming Kind) Resolution {
	switch {
	case incoming == KindDelete:
		return Resolution{Supersede, ReasonDeleteEndsWork}
	case incoming == existing && (existing == KindSeal || existing == KindRepair):
		return Resolution{Merge, ReasonAskedTwice}
	case incoming == existing && existing == KindMove && p.SameNode:
		return Resolution{Merge, ReasonAskedTwice}
	case existing == KindMove && incoming == KindRepair:
		return nativeRepairMove(p)
	}
	return Resolution{Wait, ReasonOneAtATime}
}

// nativeRepairMove: a running move is soon done and leaves a whole copy, so a repair waits for it,
// unless the extent hangs on its last copy.
func nativeRepairMove(p *Pair) Resolution {
	switch {
	case p.Incoming.LiveReplicas <= 1:
		return Resolution{Supersede, ReasonLastCopyFirst}
	case p.Existing.Phase == PhaseQueued:
		return Resolution{Supersede, ReasonMoveYields}
	}
	return Resolution{Wait, ReasonOneAtATime}
}
