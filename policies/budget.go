package policies

// MaxRecords is how many records a policy is asked about in one call.
const MaxRecords = 256

// Budget is how much metered work a policy may do, in units that mean the same on every machine. In a cell the three
// are settings, and so the same on all nodes.
type Budget struct {
	Batch  uint64 `json:"batch"`  // for one call, however many records it is asked about
	Record uint64 `json:"record"` // for each of these records besides
	Start  uint64 `json:"start"`  // for each of the calls that start an instance
}

// Of is the budget for records of one kind, in as many calls as they take.
func (b Budget) Of(records int) uint64 {
	calls := (uint64(records) + MaxRecords - 1) / MaxRecords
	return b.Batch*calls + b.Record*uint64(records)
}
