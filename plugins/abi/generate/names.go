package main

import (
	"strconv"
	"strings"

	"github.com/datanode/datanode/plugins/abi"
)

// camel writes op_index as OpIndex.
func camel(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func lowerCamel(name string) string {
	c := camel(name)
	return strings.ToLower(c[:1]) + c[1:]
}

func goName(v abi.Value) string {
	if v.Go != "" {
		return v.Go
	}
	return camel(v.Name)
}

func goType(f abi.Field) string {
	if f.Enum != "" {
		return camel(f.Enum)
	}
	switch f.Type {
	case abi.Flag:
		return "bool"
	case abi.Tag:
		return "[ClassBytes]byte"
	case abi.I32:
		return "int32"
	case abi.I64:
		return "int64"
	}
	return "uint" + itoa(8*f.Type.Align())
}

// cName is the name of a field in C, where class is taken by C++.
func cName(f abi.Field) string {
	if f.Type == abi.Tag {
		return f.Name + "_tag[" + itoa(f.Type.Size()) + "]"
	}
	if f.Type == abi.Zero7 {
		return f.Name + "[7]"
	}
	return f.Name
}

func cType(f abi.Field) string {
	switch f.Type {
	case abi.Tag:
		return "char"
	case abi.I32:
		return "int32_t"
	case abi.I64:
		return "int64_t"
	}
	return "uint" + itoa(8*f.Type.Align()) + "_t"
}

func rustType(f abi.Field) string {
	switch {
	case f.Enum != "":
		return camel(f.Enum)
	case f.Type == abi.Tag || f.Type == abi.Zero7:
		return "[u8; " + itoa(f.Type.Size()) + "]"
	case f.Type == abi.I32 || f.Type == abi.I64:
		return string(f.Type)
	}
	return "u" + itoa(8*f.Type.Align())
}

// asType are the fields of f in AssemblyScript, which has no arrays within an object.
func asType(f abi.Field) []string {
	switch f.Type {
	case abi.Tag:
		return []string{f.Name + "0: u64;", f.Name + "1: u64;"}
	case abi.I32, abi.I64:
		return []string{lowerCamel(f.Name) + ": " + string(f.Type) + ";"}
	}
	return []string{lowerCamel(f.Name) + ": u" + itoa(8*f.Type.Align()) + ";"}
}

func itoa(n int) string { return strconv.Itoa(n) }
