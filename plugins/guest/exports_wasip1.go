package guest

import "unsafe"

// kept holds what policy_alloc has handed out, so that it is never collected. The host asks for room
// three times at most.
var kept [][]uint64

//go:wasmexport policy_abi_v1
func exportMarker() {}

//go:wasmexport policy_alloc
func exportAlloc(n uint32) unsafe.Pointer {
	words := make([]uint64, n/8+1) // words, for alignment
	kept = append(kept, words)
	return unsafe.Pointer(&words[0])
}

//go:wasmexport policy_describe
func exportDescribe() uint64 {
	if registered.Score == nil {
		panic("guest: no policy: call guest.Register in the initializer of a package variable")
	}
	text := registered.describe()
	at := exportAlloc(uint32(len(text)))
	copy(unsafe.Slice((*byte)(at), len(text)), text)
	return uint64(uintptr(at))<<32 | uint64(len(text))
}

//go:wasmexport policy_score
func exportScore(batch unsafe.Pointer, n uint32, out unsafe.Pointer) uint32 {
	registered.score(batch, n, out)
	return n
}

//go:wasmexport policy_conflict
func exportConflict(batch unsafe.Pointer, n uint32, out unsafe.Pointer) uint32 {
	registered.conflict(batch, n, out)
	return n
}

//go:wasmimport datanode log
func hostLog(text unsafe.Pointer, n uint32)

//go:wasmimport datanode config_get
func hostConfigGet(key unsafe.Pointer, keyLen uint32, out unsafe.Pointer, room uint32) uint32

//go:wasmimport datanode counter_add
func hostCounterAdd(name unsafe.Pointer, n uint32, delta int64)

const configAbsent = 0xffffffff

// Config is the configured value of key. ok is false where none is configured.
func Config(key string) (value string, ok bool) {
	buf := make([]byte, 256)
	for {
		n := hostConfigGet(unsafe.Pointer(unsafe.StringData(key)), uint32(len(key)),
			unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf)))
		switch {
		case n == configAbsent:
			return "", false
		case int(n) <= len(buf):
			return string(buf[:n]), true
		}
		buf = make([]byte, n)
	}
}

// Log writes a line to the node's log. The host drops all but the first few of a call.
func Log(text string) {
	hostLog(unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

// Count adds delta to a counter of the policy.
func Count(name string, delta int64) {
	hostCounterAdd(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), delta)
}
