package logs

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// NamedField is one field of a command, in words.
type NamedField struct {
	Name  string `json:"name"`  // such as "asked_by", or "decision.reason" of one within another
	Value string `json:"value"` // kinds, states and operations by name, times in RFC 3339
}

// Fields are the fields of a told command that are set; nil for one of a type that this build does not know.
func Fields(c wire.LogCommand) []NamedField {
	cmd := (Entry{told: wire.LogEntry{Commands: []wire.LogCommand{c}}}).commands()[0]
	if cmd == nil {
		return nil
	}
	return appendFields(nil, "", reflect.ValueOf(cmd).Elem())
}

func appendFields(out []NamedField, prefix string, v reflect.Value) []NamedField {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && !v.Field(i).IsZero() {
			out = appendValue(out, prefix+snake(f.Name), v.Field(i))
		}
	}
	return out
}

// appendValue appends a value: in words where it has them, field by field where it has none.
func appendValue(out []NamedField, name string, v reflect.Value) []NamedField {
	switch x := v.Interface().(type) {
	case state.Outcome:
		return append(out, NamedField{name, describe.Outcome(x)})
	case state.Micros:
		return append(out, NamedField{name, time.UnixMicro(int64(x)).UTC().Format(time.RFC3339Nano)})
	case fmt.Stringer:
		if v.Kind() != reflect.Struct && v.Kind() != reflect.Slice {
			return append(out, NamedField{name, x.String()})
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		return appendValue(out, name, v.Elem())
	case reflect.Struct:
		return appendFields(out, name+".", v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String {
			all := make([]string, v.Len())
			for i := range all {
				all[i] = v.Index(i).String()
			}
			return append(out, NamedField{name, strings.Join(all, ", ")})
		}
		for i := range v.Len() {
			out = appendValue(out, fmt.Sprintf("%s[%d]", name, i), v.Index(i))
		}
		return out
	}
	return append(out, NamedField{name, fmt.Sprint(v.Interface())})
}

// snake is a field's name as it is in JSON elsewhere: "AskedBy" is "asked_by".
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
