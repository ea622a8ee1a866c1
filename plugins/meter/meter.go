// Package meter rewrites WebAssembly modules so that they count their own work. A metered module
// does what it did before, and has one more export: a mutable global that holds what is left of a
// budget. The host sets it before a call; the module subtracts as it goes and traps once it is below
// zero; what is missing from it afterwards is the cost of the call. The count depends on the module
// and on what it is asked, never on the engine, the machine or the time.
//
// Where it counts. Only loops and calls can repeat code, so a module counts when it enters a function
// and at the head of each loop: there it pays for all that can run before the next such point. Both
// arms of an if are paid for, and what is jumped over too: the cost is an upper bound of what runs.
// Instructions whose work depends on an operand (filling and copying memory or tables, growing
// memory) pay for that when they get there, before they begin. What each costs is in cost.go.
//
// The added code is, for a charge of c, with g the global and t an added local:
//
//	global.get g  i64.const c  i64.sub  local.tee t  global.set g
//	block  block  local.get t  i64.const 0  i64.lt_s  br_if 0  br 1  end  unreachable  end
//
// In loops without calls, and in functions without, local.get t stands for global.get g. An operand
// that tells the cost is kept in a second local and read from there.
//
// What is left never wraps around: a charge is bounded by the size of the module or by 2^48, and the
// first one that goes below zero is the last. The global is 0 in a new instance, so that nothing runs
// on no budget.
//
// A rewritten module is valid if and only if the module was: every use of an index is checked that
// could reach what is added (the global, the locals), and the code is read so strictly that the
// compiler cannot take it for other instructions. All other rules are the compiler's to check.
//
// Not counted is how deep calls go. Each engine has a bound of its own for that, and traps there if
// the budget lasts so long; where, is the one thing in which they differ.
//
// The package holds no state, starts nothing, and may be used by several goroutines at once.
package meter

// Version is that of the costs and of the places where they are charged. It is part of the key of
// whatever is compiled from a metered module: modules that count differently must not be mixed up.
const Version = 1

// Export is the name of the exported mutable i64 global that holds what is left of the budget. The
// host sets it before each call, to 0 or more; if it is below zero after a trap, the module had spent
// its budget. A function of the host may charge its caller by subtracting from it: the module looks
// at it again after every call.
const Export = "datanode_meter_v1"

// Instrument gives module with its own work counted, and without its custom sections. A failure is
// an *Error. It allocates in proportion to the bytes of module, whatever they claim, and leaves
// module alone.
func Instrument(module []byte) ([]byte, error) {
	m, err := parse(module)
	if err != nil {
		return nil, typed(err)
	}
	return m.rewrite(), nil
}
