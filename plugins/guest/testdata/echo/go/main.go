// Command echo tells the host every fact that it sees. The tests of the bindings hold it against
// golden.txt.
package main

import "github.com/datanode/datanode/plugins/guest"

var _ = guest.Register(guest.Policy{
	Name: "echo", Version: "1",
	Score: func(f *guest.Facts) (int32, guest.Reason) {
		tell(f)
		return int32(f.WaitingMicros), guest.Reason(f.OpPlace)
	},
	Conflict: func(existing, incoming *guest.Facts, sameNode bool) (guest.Verdict, guest.Reason) {
		guest.Count("same_node", number(sameNode))
		tell(existing)
		tell(incoming)
		return guest.Verdict(incoming.Kind), guest.Reason(existing.OpPlace)
	},
})

func tell(f *guest.Facts) {
	guest.Count("op_index", int64(f.OpIndex))
	guest.Count("extent", int64(f.Extent))
	guest.Count("length_bytes", int64(f.LengthBytes))
	guest.Count("now_micros", f.NowMicros)
	guest.Count("waiting_micros", f.WaitingMicros)
	guest.Count("op_place", int64(f.OpPlace))
	guest.Count("queued_ops", int64(f.QueuedOps))
	guest.Count("running_ops", int64(f.RunningOps))
	guest.Count("running_same", int64(f.RunningSame))
	guest.Count("kind", int64(f.Kind))
	guest.Count("phase", int64(f.Phase))
	guest.Count("origin", int64(f.Origin))
	guest.Count("attempts", int64(f.Attempts))
	guest.Count("extent_open", number(f.ExtentOpen))
	guest.Count("live_replicas", int64(f.LiveReplicas))
	guest.Count("want_replicas", int64(f.WantReplicas))
	guest.Log(string(f.Class[:]))
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func main() {}
