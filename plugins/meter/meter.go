// Package meter rewrites WebAssembly modules so that they count their own work. A metered module
// does what it did before, and has one more export: a mutable global that holds what is left of a
// budget. The host sets it before a call; the module subtracts as it goes and traps once it is below
// zero; what is missing from it afterwards is the cost of the call. The count depends on the module
// and on what it is asked, never on the engine, the machine or the time.
//
// Where it counts. Only loops and calls can repeat code, so a module counts when it enters a function
// and at the head of each loop: there it pays for all that can run before the next such point. Both
// arms of an if are paid for, and what is jumped over too: the cost is an upper bound of the
// instructions that run. Instructions whose work depends on an operand (filling and copying memory or
// tables, growing memory) pay for that when they get there, before they begin. Functions that are
// short, without loops and call nothing but such functions do not count themselves: who calls them pays.
//
// The added code is, for a charge of c, with g the global and t an added local:
//
//	global.get g  i64.const c  i64.sub  local.tee t  global.set g
//	local.get t  i64.const 0  i64.lt_s  if  unreachable  end
//
// What is left never wraps around: a charge is bounded by the size of the module or by 2^32 units of
// an operand, and the first one that goes below zero is the last.
//
// A rewritten module is valid if and only if the module was: the rewriting checks every use of the
// indices that it adds (the global, the locals), so that code cannot reach them by using an index
// that did not exist before. All other rules are the compiler's to check.
//
// The package holds no state, starts nothing, and may be used by several goroutines at once.
package meter

// Version is that of the costs and of the places where they are charged. It is part of the key of
// whatever is compiled from a metered module: modules that count differently must not be mixed up.
const Version = 1

// Export is the name of the exported mutable i64 global that holds what is left of the budget. It is
// 0 in a new instance. The host sets it before each call; if it is below zero after a trap, the
// module had spent its budget.
const Export = "datanode_meter_v1"

// Instrument gives module with its own work counted, and without its custom sections. A failure is
// an *Error. It allocates in proportion to the bytes of module, whatever they claim, and leaves
// module alone.
func Instrument(module []byte) ([]byte, error) {
	m, err := parse(module)
	if err != nil {
		return nil, err
	}
	return m.rewrite(), nil
}
