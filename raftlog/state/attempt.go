package state

// Attempt is one start of one operation.
type Attempt struct {
	Op    OpID
	Fence Fence
}

// Attempt is the one that is under way.
func (o *Op) Attempt() Attempt { return Attempt{o.ID, o.Fence} }

// Runs is the execution check: the operation runs, under this very fence.
func (v *View) Runs(a Attempt) bool {
	o := v.Op(a.Op)
	return o != nil && o.State == OpRunning && o.Fence == a.Fence
}
