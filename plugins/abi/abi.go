// Package abi is the policy ABI as a table: the records that the host and a policy exchange, the
// numbers in them, the functions of both sides. Schema is the only place where an offset, a number or
// the meaning of a fact is written down; the bindings under plugins/guest and the tables of
// docs/policy-abi.md are generated from it, and a test holds the host's own codec against it.
//
// Everything is little-endian. A record only ever grows at its end: offsets and numbers that were
// released never change.
package abi

//go:generate go run ./generate

import (
	"fmt"
	"strings"
)

// Schema is one version of the ABI.
type Schema struct {
	Version int
	Header  Record // stands before the records of a batch
	Facts   Record // a record of a score batch
	Pair    Record // what stands before the two facts of a record of a conflict batch
	Score   Record // answers a facts
	Resolve Record // answers a pair
	Enums   []Enum
	Exports []Func
	Imports []Func

	BatchMost  int // records of a batch
	ClassBytes int // of a class tag
}

// Record is a fixed layout of bytes. Invariant: its fields follow each other without a gap, each is
// aligned to its size, and all of them together to 8.
type Record struct {
	Name   string
	Doc    string
	Fields []Field
}

// Field is one value within a record.
type Field struct {
	At   int    // offset in bytes
	Type Type   // how it is written
	Name string // lower case, words joined by _
	Enum string // the name of the Enum that it is a number of; "" for none
	Unit string // "" where it has none
	Doc  string // a few words, for the bindings too
	More string // what only docs/policy-abi.md says of it
	// V1 is the value in a batch of this version, for the doc; "" where it varies.
	V1 string
}

// Type is how a field is written.
type Type string

// Types of fields. Tag is bytes padded with zeros; Zero a field of as many zeros as its size.
const (
	U8   Type = "u8"
	U16  Type = "u16"
	U32  Type = "u32"
	U64  Type = "u64"
	I32  Type = "i32"
	I64  Type = "i64"
	Flag Type = "flag" // u8, 0 or 1
	Tag  Type = "u8[16]"
	// Zeros must be written as 0 and may be given a meaning by a later version.
	Zero1 Type = "zero u8"
	Zero2 Type = "zero u16"
	Zero4 Type = "zero u32"
	Zero7 Type = "zero u8[7]"
)

// Size is the number of bytes that a field of the type takes.
func (t Type) Size() int {
	switch t {
	case U8, Flag, Zero1:
		return 1
	case U16, Zero2:
		return 2
	case U32, I32, Zero4:
		return 4
	case U64, I64:
		return 8
	case Tag:
		return 16
	case Zero7:
		return 7
	}
	return 0
}

// Align is the alignment of the type: its size, but for what is made of single bytes.
func (t Type) Align() int {
	if t == Tag || t == Zero7 {
		return 1
	}
	return t.Size()
}

// IsZero tells whether the field is there only to be 0.
func (t Type) IsZero() bool { return strings.HasPrefix(string(t), "zero ") }

// Size is the number of bytes of the record.
func (r Record) Size() int {
	last := r.Fields[len(r.Fields)-1]
	return last.At + last.Type.Size()
}

// Field finds a field by its name. ok is false where there is none.
func (r Record) Field(name string) (f Field, ok bool) {
	for _, f := range r.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return f, false
}

// PairSize is the number of bytes of a whole record of a conflict batch.
func (s Schema) PairSize() int { return s.Pair.Size() + 2*s.Facts.Size() }

// Enum is a set of numbers with names. Zero is never one of them; numbers are only ever added.
type Enum struct {
	Name   string
	Doc    string
	Closed bool // no other number can be met
	Values []Value
}

// Value is one number of an Enum.
type Value struct {
	Number int
	Name   string // lower case
	Go     string // its name in Go, where the plain one would be taken; "" for the plain one
	Doc    string
}

// Func is a function that a policy exports or may import.
type Func struct {
	Module    string // "" for an export
	Name      string
	Params    []Param
	Result    string // "" for none
	ResultDoc string // the name of the result in the doc
	Optional  bool
	Doc       string
}

// Param is a parameter of a Func. Type is i32 or i64, as in WebAssembly.
type Param struct{ Name, Type string }

// Signature is the function's type as it is written in the doc.
func (f Func) Signature() string {
	params := make([]string, len(f.Params))
	for i, p := range f.Params {
		params[i] = p.Name + ": " + p.Type
	}
	result := "()"
	if f.Result != "" {
		result = f.Result
	}
	return "(" + strings.Join(params, ", ") + ") -> " + result
}

// Check says what is wrong with a schema; nil if nothing is.
func (s Schema) Check() error {
	enums := map[string]bool{"": true}
	for _, e := range s.Enums {
		enums[e.Name] = true
		for i, v := range e.Values {
			if v.Number != i+1 {
				return fmt.Errorf("%s %s is %d, want %d: numbers follow each other from 1", e.Name, v.Name, v.Number, i+1)
			}
		}
	}
	for _, r := range []Record{s.Header, s.Facts, s.Pair, s.Score, s.Resolve} {
		at := 0
		for _, f := range r.Fields {
			switch {
			case f.Type.Size() == 0:
				return fmt.Errorf("%s.%s: %q is no type", r.Name, f.Name, f.Type)
			case f.At != at:
				return fmt.Errorf("%s.%s is at %d, want %d", r.Name, f.Name, f.At, at)
			case at%f.Type.Align() != 0:
				return fmt.Errorf("%s.%s at %d is not aligned to %d", r.Name, f.Name, at, f.Type.Align())
			case !enums[f.Enum]:
				return fmt.Errorf("%s.%s: there is no enum %q", r.Name, f.Name, f.Enum)
			}
			at += f.Type.Size()
		}
		if at%8 != 0 {
			return fmt.Errorf("%s takes %d bytes, want a multiple of 8", r.Name, at)
		}
	}
	return nil
}

// Kinds are the kinds of operations.
func (s Schema) Kinds() []Value {
	for _, e := range s.Enums {
		if e.Name == "kind" {
			return e.Values
		}
	}
	return nil
}
