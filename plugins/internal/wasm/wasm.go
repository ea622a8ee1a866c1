// Package wasm is the binary format of WebAssembly modules, as far as both the gate of package plugins
// and package meter need it: numbers, and a Cursor that believes no count. What either makes of a
// module it knows itself.
//
// A module is
//
//	\0asm 01 00 00 00   sections, in the order of Order
//	section:            id of a byte, length, so many bytes
//
// where lengths, counts and indices are LEB128 numbers (core specification 2.0, §5.2.2 and §5.5). A
// Cursor belongs to one goroutine; everything else here never changes.
package wasm

// Header is what a module begins with: the magic number, and version 1.
const (
	Magic  = "\x00asm"
	Header = Magic + "\x01\x00\x00\x00"
)

// Numbers of the sections (core specification 2.0, §5.5.2).
const (
	SecCustom = iota
	SecType
	SecImport
	SecFunction
	SecTable
	SecMemory
	SecGlobal
	SecExport
	SecStart
	SecElement
	SecCode
	SecData
	SecDataCount
	Sections // how many there are
)

// Order is that of the sections in a module. Custom sections stand anywhere.
var Order = [...]byte{SecType, SecImport, SecFunction, SecTable, SecMemory, SecGlobal, SecExport, SecStart,
	SecElement, SecDataCount, SecCode, SecData}

// After gives the place in Order behind section id, or 0 if that does not come at place or later.
func After(place int, id byte) int {
	for i := place; i < len(Order); i++ {
		if Order[i] == id {
			return i + 1
		}
	}
	return 0
}

// Kinds of imports and exports.
const (
	ExternFunc   = 0
	ExternTable  = 1
	ExternMemory = 2
	ExternGlobal = 3
)

// Types of values, of functions, and of blocks without parameters and results.
const (
	I32        = 0x7f
	I64        = 0x7e
	F32        = 0x7d
	F64        = 0x7c
	Funcref    = 0x70
	Externref  = 0x6f
	FuncType   = 0x60
	BlockEmpty = 0x40
)
