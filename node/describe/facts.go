package describe

import (
	"strconv"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

var phaseNames = map[policies.Phase]string{
	policies.PhaseIncoming: "incoming", policies.PhaseQueued: "queued", policies.PhaseRunning: "running",
}

func facts(f *policies.Facts) []wire.Fact {
	num := func(n uint64) string { return strconv.FormatUint(n, 10) }
	facts := []wire.Fact{
		{Name: "kind", Value: f.Kind.String()},
		{Name: "phase", Value: phaseNames[f.Phase]},
		{Name: "origin", Value: originNames[f.Origin]},
		{Name: "attempts", Value: num(uint64(f.Attempts))},
	}
	if f.Extent != 0 || f.Kind == policies.KindCreate {
		facts = append(facts,
			wire.Fact{Name: "extent", Value: num(f.Extent)},
			wire.Fact{Name: "class", Value: f.ClassString()},
			wire.Fact{Name: "open", Value: strconv.FormatBool(f.ExtentOpen)},
			wire.Fact{Name: "length_bytes", Value: num(f.LengthBytes)},
			wire.Fact{Name: "live_replicas", Value: num(uint64(f.LiveReplicas))},
			wire.Fact{Name: "want_replicas", Value: num(uint64(f.WantReplicas))},
		)
	}
	return append(facts,
		wire.Fact{Name: "now_micros", Value: strconv.FormatInt(f.NowMicros, 10)},
		wire.Fact{Name: "waiting_micros", Value: strconv.FormatInt(f.WaitingMicros, 10)},
		wire.Fact{Name: "queued_ops", Value: num(uint64(f.QueuedOps))},
		wire.Fact{Name: "running_ops", Value: num(uint64(f.RunningOps))},
		wire.Fact{Name: "running_same_kind", Value: num(uint64(f.RunningSame))},
	)
}
