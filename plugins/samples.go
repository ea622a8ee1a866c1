package plugins

import "github.com/datanode/datanode/policies"

// sampleFacts are what every policy is tried on: each kind, in each phase, from each origin, with
// the numbers at their edges in between. The same for every module and on every node. No two are of
// the same time: a batch's clock shows that of its first record, so who answers by the clock answers
// differently when the batch is shuffled.
func sampleFacts() []policies.Facts {
	facts := make([]policies.Facts, 0, 72)
	for kind := policies.KindCreate; kind <= policies.KindRecommission; kind++ {
		for phase := policies.PhaseIncoming; phase <= policies.PhaseRunning; phase++ {
			for origin := policies.OriginUser; origin <= policies.OriginDecommission; origin++ {
				n := len(facts)
				f := policies.Facts{
					OpIndex: uint64(n) << (n % 60), OpPlace: uint32(n % 5), Kind: kind, Phase: phase, Origin: origin,
					Attempts: uint8(n * 7), Extent: uint64(n) * 0x9e3779b97f4a7c15, ExtentOpen: n%3 == 0,
					LengthBytes: uint64(1) << (n % 64), LiveReplicas: uint8(n % 5), WantReplicas: uint8(1 + n%4),
					NowMicros: 1_700_000_000_000_000 + int64(n)*86_399_999_983, WaitingMicros: int64(n*n*n) * 77_777,
					QueuedOps: uint32(n * 1000), RunningOps: uint32(n), RunningSame: uint32(n / 2),
				}
				copy(f.Class[:], []string{"", "gold", "archive", "sixteen-bytes-ab"}[n%4])
				facts = append(facts, f)
			}
		}
	}
	return facts
}

// samplePairs are all pairs of kinds, with facts from sampleFacts.
func samplePairs() []policies.Pair {
	facts := sampleFacts()
	const kinds, each = 8, 9
	pairs := make([]policies.Pair, 0, kinds*kinds)
	for a := range kinds {
		for b := range kinds {
			pairs = append(pairs, policies.Pair{
				Existing: facts[a*each+(b+3)%each], Incoming: facts[b*each+a%each], SameNode: (a+b)%2 == 0,
			})
		}
	}
	return pairs
}

// shuffled is a fixed order of n things that no pair of neighbours, first or last keeps its place in.
func shuffled(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i*29 + n/2) % n // 29 is prime to 72 and to 64
	}
	return order
}
