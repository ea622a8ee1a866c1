// Package modules keeps the policies that a cell's log names, and asks the one that decides.
//
// The log says which policies are loaded, by digest and configuration, and which is active. A Registry keeps the bytes
// of their modules in a folder, has a Host compile each of them once, so that the node can tell which it could run, and
// holds a few of them in memory: what decides, what did before, and those that were used last. A module that is not
// here is fetched from a node that has it. Ask puts a batch to the active policy; if it fails or is not here, the
// native default decides the same batch and the answer says so.
//
// Goroutines: Run is one loop that follows the log; the node that made the registry owns it. All other methods may
// be called from any goroutine, and run in the caller's.
//
// Locks: Registry.mu guards the maps and is never held while a policy is compiled, asked, closed or fetched.
package modules
