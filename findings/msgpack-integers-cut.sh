#!/usr/bin/env bash
# vmihailenco/msgpack v5.4.1: an integer that does not fit the field it is read into is cut, and no error is raised.
#
# Expected: as encoding/json does, an error for 300 in a uint8 or for -1 in a uint64. The library does refuse a float
# in an integer and a number in a bool.
# Seen: 300 becomes 44, -1 becomes 18446744073709551615, 2^63 becomes -9223372036854775808, 2^32 in a uint32 becomes 0;
# Unmarshal returns nil.
# Why it matters: numbers name things on a wire. A newer program that numbers an operation 300, or a client in a
# language without unsigned integers that sends -1 for "none", is not refused by an older reader: it is taken for
# operation 44, or for a valid identity that means something else. Whoever decodes with this library must read into 64
# bits of the same sign and compare before narrowing; the sign itself shows in the first byte of the value alone.
#
# Needs Go and the module proxy; all stays in a temporary folder. Prints what happens; exit 1 when the behaviour is
# another.
set -euo pipefail
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module finding

go 1.26

require github.com/vmihailenco/msgpack/v5 v5.4.1
MOD
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/vmihailenco/msgpack/v5"
)

var bad bool

func try[T comparable](sent any, want T) {
	var got, viaJSON T
	b, err := msgpack.Marshal(sent)
	if err != nil {
		panic(err)
	}
	err = msgpack.Unmarshal(b, &got)
	text, _ := json.Marshal(sent)
	jsonErr := json.Unmarshal(text, &viaJSON)
	fmt.Printf("%20v into %-6T: msgpack %v, error %v; JSON error: %v\n", sent, got, got, err, jsonErr)
	bad = bad || err != nil || got != want || jsonErr == nil
}

func main() {
	try(300, uint8(44))
	try(200, int8(-56))
	try(int64(1)<<32, uint32(0))
	try(-1, uint64(1<<64-1))
	try(uint64(1)<<63, int64(-1<<63))
	if bad {
		fmt.Println("this is not what was seen")
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go run .
