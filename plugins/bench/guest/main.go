// Command guest scores as the native default does.
package main

import "github.com/datanode/datanode/plugins/guest"

var reasons = []string{
	"repair: one live copy is left", "repair: redundancy is lost", "repair: redundancy is whole",
	"repair: no live copy to read from", "create: a client waits", "seal: writing goes on after it",
	"delete: asked for by a client", "delete: the cell frees space", "punch: frees space",
	"move: a node is being emptied", "move: balances", "node operation: cheap, an operator waits", "unknown kind",
}

var _ = guest.Register(guest.Policy{Name: "bench", Version: "1", Reasons: reasons, Score: score, Conflict: conflict})

func score(f *guest.Facts) (int32, guest.Reason) {
	priority, reason := band(f)
	if f.WaitingMicros > 0 {
		priority += int32(min(f.WaitingMicros/10_000_000, 400))
	}
	return priority - int32(min(f.Attempts, 4))*100, reason
}

func band(f *guest.Facts) (int32, guest.Reason) {
	switch f.Kind {
	case guest.Create:
		return 10000, 5
	case guest.Seal:
		return 9000, 6
	case guest.Repair:
		return repair(f)
	case guest.Move:
		if f.Origin == guest.ByDecommission {
			return 1000, 10
		}
		return 0, 11
	case guest.Delete:
		if f.Origin == guest.ByUser {
			return 8000, 7
		}
		return 3000, 8
	case guest.Punch:
		return 2000, 9
	case guest.Decommission, guest.Recommission:
		return 7000, 12
	}
	return -2000, 13
}

func repair(f *guest.Facts) (int32, guest.Reason) {
	switch live := int32(f.LiveReplicas); {
	case live == 0:
		return -1000, 4
	case f.LiveReplicas >= f.WantReplicas:
		return 0, 3
	case live == 1:
		return 11000, 1
	default:
		return max(6000-1000*(live-2), 4000), 2
	}
}

func conflict(_, _ *guest.Facts, _ bool) (guest.Verdict, guest.Reason) { return guest.Wait, 0 }

func main() {} // never run: a policy is only asked
