#!/usr/bin/env bash
# vmihailenco/msgpack v5.4.1: a struct that is encoded as an array can never get another field.
#
# Expected: arrays are the usual way to make records that grow, as in Avro's or Thrift's compact forms and in msgpack
# libraries of other languages: fields are appended at the end, an old reader skips what it does not know, a new reader
# leaves what is missing at zero. Maps, which repeat every name, would not be needed for that.
# Seen: any other length is refused, in both directions ("number of fields in array-encoded struct has changed"), with
# one exception: an empty array, and nil, set the whole struct to zero without an error. The same records as maps are
# read both ways.
# Why it matters: a protocol or a log that is written with the option for arrays works in every test of one version, and
# stops at the first rolling upgrade that adds a field. Who wants arrays must read the length and the elements himself
# (DecodeArrayLen, then field by field, then Skip for the rest), and must refuse the empty array where it means nothing.
#
# Needs Go and a module proxy. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"

	"github.com/vmihailenco/msgpack/v5"
)

type before struct{ ID, Length uint64 }

type after struct{ ID, Length, Birth uint64 }

func encode(v any, arrays bool) []byte {
	var buf bytes.Buffer
	enc := msgpack.NewEncoder(&buf)
	enc.UseArrayEncodedStructs(arrays)
	if err := enc.Encode(v); err != nil {
		log.Fatal(err)
	}
	return buf.Bytes()
}

func main() {
	ok := true
	for _, arrays := range []bool{false, true} {
		var old before
		var grown after
		forward := msgpack.Unmarshal(encode(after{7, 4096, 3}, arrays), &old)
		backward := msgpack.Unmarshal(encode(before{7, 4096}, arrays), &grown)
		fmt.Printf("arrays %-5v  new record, old reader: %+v, %v\n", arrays, old, forward)
		fmt.Printf("arrays %-5v  old record, new reader: %+v, %v\n", arrays, grown, backward)
		ok = ok && (forward != nil) == arrays && (backward != nil) == arrays
	}
	kept := before{7, 4096}
	err := msgpack.Unmarshal(encode([]uint64{}, true), &kept)
	fmt.Printf("an empty array: %+v, %v\n", kept, err)
	if !ok || err != nil || kept != (before{}) {
		fmt.Println("this is not what v5.4.1 did")
		os.Exit(1)
	}
}
GO
cat >go.mod <<'MOD'
module finding

go 1.24
MOD
go get github.com/vmihailenco/msgpack/v5@v5.4.1 2>/dev/null
go run .
