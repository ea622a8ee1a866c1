package abi

// V1 is version 1. To add a fact, append it to the fields of facts, and zeros up to the next multiple
// of 8; run `go generate ./plugins/abi`; then give it to policies.Facts and the host's codec, and to
// the echo policies of plugins/guest/testdata, whose tests ask for it.
func V1() Schema {
	return Schema{
		Version: 1, BatchMost: 256, ClassBytes: 16,
		Header: header(), Facts: facts(), Pair: pair(), Score: score(), Resolve: resolution(),
		Enums:   []Enum{kinds(), phases(), origins(), verdicts()},
		Exports: exports(), Imports: imports(),
	}
}

func header() Record {
	return Record{Name: "header", Doc: "stands at the start of every batch", Fields: []Field{
		{At: 0, Type: U16, Name: "version", V1: "1", Doc: "of the layout"},
		{At: 2, Type: U16, Name: "header_bytes", Unit: "bytes", V1: "24",
			Doc: "from the start of the batch to the first record"},
		{At: 4, Type: U32, Name: "stride", Unit: "bytes", V1: "80 for scores, 168 for conflicts",
			Doc: "from one record to the next"},
		{At: 8, Type: U32, Name: "count", Unit: "records", V1: "1 to 256", Doc: "records in the batch"},
		{At: 12, Type: U32, Name: "facts_stride", Unit: "bytes", V1: "80", Doc: "size of one facts within a pair"},
		{At: 16, Type: U32, Name: "answer_stride", Unit: "bytes", V1: "8", Doc: "from one answer to the next"},
		{At: 20, Type: Zero4, Name: "zero"},
	}}
}

func facts() Record {
	return Record{Name: "facts", Doc: "what is known about one operation", Fields: []Field{
		{At: 0, Type: U64, Name: "op_index", Unit: "log index",
			Doc: "the entry that admitted it; 0 while incoming", More: "With op_place it is the operation's ID: " +
				"the lower was asked for earlier"},
		{At: 8, Type: U64, Name: "extent", Unit: "extent ID", Doc: "what it is about; 0 for operations on a node",
			More: "0 also for a create that is incoming: it gets its extent when it is admitted"},
		{At: 16, Type: U64, Name: "length_bytes", Unit: "bytes", Doc: "sealed length; 0 while open"},
		{At: 24, Type: I64, Name: "now_micros", Unit: "µs since 1970, UTC",
			Doc: "the cell's time of this decision", More: "The same in all records of a batch. It never goes back, " +
				"and is the only clock there is"},
		{At: 32, Type: I64, Name: "waiting_micros", Unit: "µs",
			Doc: "how long it has been in the cell; 0 while incoming",
			More: "It grows until the operation has ended, attempts that came to nothing included: " +
				"use it to keep anything from waiting for ever"},
		{At: 40, Type: U32, Name: "op_place", Unit: "place", Doc: "place within the admitting entry, from 0"},
		{At: 44, Type: U32, Name: "queued_ops", Unit: "operations", Doc: "queued in the whole cell"},
		{At: 48, Type: U32, Name: "running_ops", Unit: "operations", Doc: "running in the whole cell"},
		{At: 52, Type: U32, Name: "running_same", Unit: "operations",
			Doc: "running in the whole cell, of the same kind as this one"},
		{At: 56, Type: U8, Name: "kind", Enum: "kind", Doc: "what the operation does"},
		{At: 57, Type: U8, Name: "phase", Enum: "phase", Doc: "where it stands"},
		{At: 58, Type: U8, Name: "origin", Enum: "origin", Doc: "who asked for it"},
		{At: 59, Type: U8, Name: "attempts", Unit: "starts", Doc: "how often it was started before",
			More: "Each start but the present one came to nothing"},
		{At: 60, Type: Flag, Name: "extent_open", Doc: "whether the extent can be appended to",
			More: "0 once it is sealed, and for operations on a node"},
		{At: 61, Type: U8, Name: "live_replicas", Unit: "replicas", Doc: "whole replicas of the extent on nodes that are up"},
		{At: 62, Type: U8, Name: "want_replicas", Unit: "replicas", Doc: "how many replicas the extent should have"},
		{At: 63, Type: Zero1, Name: "zero"},
		{At: 64, Type: Tag, Name: "class", Unit: "text", Doc: "the extent's class tag, zero padded",
			More: "As given when the extent was created; all zeros without one, and for operations on a node"},
	}}
}

func pair() Record {
	return Record{Name: "pair", Doc: "two operations that concern the same extent or node", Fields: []Field{
		{At: 0, Type: Flag, Name: "same_node", Doc: "whether both operations take from the same node",
			More: "Only moves and decommissions take from one"},
		{At: 1, Type: Zero7, Name: "zero"},
	}}
}

func score() Record {
	return Record{Name: "score", Doc: "answers one facts", Fields: []Field{
		{At: 0, Type: I32, Name: "priority", Doc: "the higher starts first; equal ones in the order of their IDs"},
		{At: 4, Type: U16, Name: "reason", Doc: "an index into `reasons`"},
		{At: 6, Type: Zero2, Name: "zero"},
	}}
}

func resolution() Record {
	return Record{Name: "resolution", Doc: "answers one pair", Fields: []Field{
		{At: 0, Type: U8, Name: "verdict", Enum: "verdict", Doc: "who yields"},
		{At: 1, Type: Zero1, Name: "zero"},
		{At: 2, Type: U16, Name: "reason", Doc: "an index into `reasons`"},
		{At: 4, Type: Zero4, Name: "zeros"},
	}}
}

func kinds() Enum {
	return Enum{Name: "kind", Doc: "what an operation does", Values: []Value{
		{1, "create", "", "makes an extent on the nodes that were chosen"},
		{2, "seal", "", "ends appending to an extent: its length and its bytes are final"},
		{3, "repair", "", "copies an extent to bring back a replica that was lost"},
		{4, "move", "", "copies a replica to another node, and then drops it on the first"},
		{5, "delete", "", "deletes an extent"},
		{6, "punch", "", "rewrites a replica without what is deleted of its extent"},
		{7, "decommission", "", "takes a node out of service: no new replicas, and moves for all that it has"},
		{8, "recommission", "", "takes such a node into service again"},
	}}
}

func phases() Enum {
	return Enum{Name: "phase", Doc: "where an operation stands", Values: []Value{
		{1, "incoming", "", "not admitted yet"},
		{2, "queued", "", "admitted, not started"},
		{3, "running", "", "started"},
	}}
}

func origins() Enum {
	return Enum{Name: "origin", Doc: "who asked for an operation", Values: []Value{
		{1, "user", "ByUser", "a client"},
		{2, "cell", "ByCell", "the cell itself: lost redundancy, a failed append"},
		{3, "decommission", "ByDecommission", "a running decommission, which empties a node"},
	}}
}

func verdicts() Enum {
	return Enum{Name: "verdict", Doc: "who yields, answered to a pair", Closed: true, Values: []Value{
		{1, "coexist", "", "both go on, in any order"},
		{2, "wait", "", "the incoming one starts after the existing one has ended"},
		{3, "supersede", "", "the existing one is cancelled"},
		{4, "merge", "", "the incoming one becomes one with the existing one"},
		{5, "reject", "", "the incoming one is refused"},
	}}
}
