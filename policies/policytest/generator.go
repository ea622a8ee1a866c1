package policytest

import (
	"math"
	"math/rand/v2"

	"github.com/datanode/datanode/policies"
)

// Generator makes facts: mostly such as a cell has, some at the edges of their types. The same seed
// makes the same facts.
type Generator struct{ rng *rand.Rand }

// NewGenerator starts a sequence of facts.
func NewGenerator(seed uint64) *Generator {
	return &Generator{rand.New(rand.NewPCG(seed, 0x6461746e))}
}

// wildOneIn facts are taken from anywhere in their types, kinds that do not exist included.
const wildOneIn = 16

// Facts makes one facts.
func (g *Generator) Facts() policies.Facts {
	if g.rng.IntN(wildOneIn) == 0 {
		return g.wild()
	}
	f := policies.Facts{
		Kind:        policies.KindCreate + policies.Kind(g.rng.IntN(8)),
		Phase:       policies.PhaseIncoming + policies.Phase(g.rng.IntN(3)),
		Origin:      policies.OriginUser + policies.Origin(g.rng.IntN(3)),
		NowMicros:   1_600_000_000_000_000 + g.rng.Int64N(1e15),
		QueuedOps:   g.rng.Uint32N(10_000),
		RunningOps:  g.rng.Uint32N(64),
		RunningSame: g.rng.Uint32N(16),
	}
	if f.Phase != policies.PhaseIncoming {
		f.OpIndex, f.OpPlace = 1+g.rng.Uint64N(1e9), g.rng.Uint32N(256)
		f.WaitingMicros = g.rng.Int64N(1 << (1 + g.rng.IntN(40))) // up to 12 days, most much less
		f.Attempts = uint8(g.rng.IntN(8))
	}
	if f.Kind != policies.KindDecommission && f.Kind != policies.KindRecommission {
		g.extent(&f)
	}
	return f
}

func (g *Generator) extent(f *policies.Facts) {
	f.Extent = 1 + g.rng.Uint64N(1e6)
	f.WantReplicas = uint8(1 + g.rng.IntN(5))
	f.LiveReplicas = uint8(g.rng.IntN(int(f.WantReplicas) + 2))
	if f.ExtentOpen = g.rng.IntN(4) == 0; !f.ExtentOpen {
		f.LengthBytes = g.rng.Uint64N(1 << 36)
	}
	copy(f.Class[:], []string{"", "", "gold", "archive", "scratch", "sixteen-bytes-ab"}[g.rng.IntN(6)])
}

func (g *Generator) wild() policies.Facts {
	f := policies.Facts{
		OpIndex: g.rng.Uint64(), OpPlace: g.rng.Uint32(), Kind: policies.Kind(g.byte()),
		Phase: policies.Phase(g.byte()), Origin: policies.Origin(g.byte()), Attempts: g.byte(),
		Extent: g.rng.Uint64(), ExtentOpen: g.rng.IntN(2) == 0, LengthBytes: g.rng.Uint64(),
		LiveReplicas: g.byte(), WantReplicas: g.byte(), NowMicros: g.micros(), WaitingMicros: g.micros(),
		QueuedOps: g.rng.Uint32(), RunningOps: g.rng.Uint32(), RunningSame: g.rng.Uint32(),
	}
	for i := range f.Class {
		f.Class[i] = g.byte()
	}
	return f
}

func (g *Generator) byte() byte {
	if g.rng.IntN(2) == 0 {
		return byte(g.rng.IntN(10))
	}
	return byte(g.rng.IntN(256))
}

func (g *Generator) micros() int64 {
	switch g.rng.IntN(4) {
	case 0:
		return math.MinInt64
	case 1:
		return math.MaxInt64
	}
	return int64(g.rng.Uint64())
}

// Pair makes a pair; both facts are about the same extent more often than chance would have it.
func (g *Generator) Pair() policies.Pair {
	p := policies.Pair{Existing: g.Facts(), Incoming: g.Facts(), SameNode: g.rng.IntN(2) == 0}
	if g.rng.IntN(4) != 0 {
		from := &p.Existing
		p.Incoming.Extent, p.Incoming.ExtentOpen, p.Incoming.Class = from.Extent, from.ExtentOpen, from.Class
		p.Incoming.LengthBytes, p.Incoming.LiveReplicas = from.LengthBytes, from.LiveReplicas
		p.Incoming.WantReplicas, p.Incoming.NowMicros = from.WantReplicas, from.NowMicros
	}
	return p
}
