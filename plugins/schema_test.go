package plugins

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/abi"
	"github.com/datanode/datanode/policies"
)

// The host's own codec is written by hand, since it has to be fast and to refuse what is malformed.
// These tests compare it with the schema that the bindings and the document are generated from.

func TestSizesAreTheSchemas(t *testing.T) {
	s := abi.V1()
	for what, c := range map[string][2]int{
		"version": {abiVersion, s.Version}, "header": {headerBytes, s.Header.Size()}, "facts": {factsBytes, s.Facts.Size()},
		"pair prefix": {pairPrefixBytes, s.Pair.Size()}, "pair": {pairBytes, s.PairSize()},
		"score":      {answerBytes, s.Score.Size()},
		"resolution": {answerBytes, s.Resolve.Size()}, "batch": {batchMost, s.BatchMost},
		"class": {policies.ClassBytes, s.ClassBytes},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %d in the host, %d in the schema", what, c[0], c[1])
		}
	}
}

// goName is the field of policies.Facts and its like that a field of the schema is about.
func goName(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// checkFields writes a value with one field set after the other, and looks at where the schema has it.
func checkFields[T any](t *testing.T, r abi.Record, write func(*T) []byte) {
	t.Helper()
	for _, f := range r.Fields {
		var value T
		field := reflect.ValueOf(&value).Elem().FieldByName(goName(f.Name))
		want := make([]byte, f.Type.Size())
		for i := range want {
			want[i] = byte(i + 1)
		}
		switch {
		case f.Type.IsZero():
			clear(want)
		case !field.IsValid():
			t.Errorf("%s.%s: %T has no field %s", r.Name, f.Name, value, goName(f.Name))
			continue
		case f.Type == abi.Flag:
			field.SetBool(true)
			want[0] = 1
		case f.Type == abi.Tag:
			reflect.Copy(field, reflect.ValueOf(want))
		case field.CanInt():
			field.SetInt(int64(littleEndian(want)))
		default:
			field.SetUint(littleEndian(want))
		}
		record := write(&value)
		all := make([]byte, len(record))
		copy(all[f.At:], want)
		if string(record) != string(all) {
			t.Errorf("%s.%s: the host writes\n%x, want\n%x", r.Name, f.Name, record, all)
		}
	}
}

func littleEndian(b []byte) uint64 {
	return binary.LittleEndian.Uint64(append(append([]byte(nil), b...), make([]byte, 8)...))
}

func TestFieldsAreTheSchemas(t *testing.T) {
	s := abi.V1()
	checkFields(t, s.Facts, func(f *policies.Facts) []byte { return AppendFacts(nil, f) })
	checkFields(t, s.Facts, func(f *policies.Facts) []byte {
		record := bytes.Repeat([]byte{0xee}, factsBytes) // of an earlier batch
		putFacts(record, []policies.Facts{*f})
		return record
	})
	checkFields(t, s.Pair, func(p *policies.Pair) []byte { return AppendPair(nil, p)[:s.Pair.Size()] })
	checkFields(t, s.Score, func(a *policies.Score) []byte { return AppendScore(nil, *a) })
	checkFields(t, s.Resolve, func(r *policies.Resolution) []byte { return AppendResolution(nil, *r) })
	if have, want := reflect.TypeFor[policies.Facts]().NumField(), len(s.Facts.Fields); have != want {
		t.Errorf("policies.Facts has %d fields, the schema %d", have, want)
	}
	h := appendHeader(nil, conflictHeader(3))
	for name, want := range map[string]uint64{
		"version": abiVersion, "header_bytes": headerBytes, "stride": pairBytes, "count": 3, "facts_stride": factsBytes,
		"answer_stride": answerBytes, "zero": 0,
	} {
		f, ok := s.Header.Field(name)
		if have := littleEndian(h[f.At : f.At+f.Type.Size()]); !ok || have != want {
			t.Errorf("header.%s is %d, want %d", name, have, want)
		}
	}
}

func TestNumbersAreTheSchemas(t *testing.T) {
	names := map[string]func(int) string{
		"kind":    func(n int) string { return policies.Kind(n).String() },
		"verdict": func(n int) string { return policies.Verdict(n).String() },
		"phase": func(n int) string {
			return map[policies.Phase]string{policies.PhaseIncoming: "incoming", policies.PhaseQueued: "queued",
				policies.PhaseRunning: "running"}[policies.Phase(n)]
		},
		"origin": func(n int) string {
			return map[policies.Origin]string{policies.OriginUser: "user", policies.OriginCell: "cell",
				policies.OriginDecommission: "decommission"}[policies.Origin(n)]
		},
	}
	for _, e := range abi.V1().Enums {
		for _, v := range e.Values {
			if have := names[e.Name](v.Number); have != v.Name {
				t.Errorf("%s %d is %q, want %q", e.Name, v.Number, have, v.Name)
			}
		}
		if next := names[e.Name](len(e.Values) + 1); next != "" && !strings.Contains(next, "(") {
			t.Errorf("%s %s is not in the schema", e.Name, next)
		}
	}
}

func TestFunctionsAreTheSchemas(t *testing.T) {
	s := abi.V1()
	if len(s.Exports) != len(abiExports) {
		t.Errorf("%d exports, the schema has %d", len(abiExports), len(s.Exports))
	}
	for _, e := range abiExports {
		found := false
		for _, f := range s.Exports {
			if f.Name == e.name {
				found = e.optional == f.Optional && e.want == signatureOf(f)
			}
		}
		if !found {
			t.Errorf("export %s %v, optional %v, is not so in the schema", e.name, e.want, e.optional)
		}
	}
	count := 0
	for _, functions := range abiImports {
		count += len(functions)
	}
	if count != len(s.Imports) {
		t.Errorf("%d imports, the schema has %d", count, len(s.Imports))
	}
	for _, f := range s.Imports {
		if have, ok := abiImports[f.Module][f.Name]; !ok || have != signatureOf(f) {
			t.Errorf("import %s.%s is %v, want %v", f.Module, f.Name, have, signatureOf(f))
		}
	}
}

func signatureOf(f abi.Func) signature {
	value := func(name string) string { return map[string]string{"i32": i32, "i64": i64}[name] }
	var params strings.Builder
	for _, p := range f.Params {
		params.WriteString(value(p.Type))
	}
	return signature{params.String(), value(f.Result)}
}
