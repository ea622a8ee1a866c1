package wire

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// plans remembers, for each type met, the error of checkType. It only saves work: checking twice
// does no harm.
var plans sync.Map

// checkType reports whether t, and all types it is made of, can go over the wire. The error is a
// programmer's.
func checkType(t reflect.Type) error {
	if t == nil {
		return fmt.Errorf("a nil value cannot go over the wire")
	}
	if v, ok := plans.Load(t); ok {
		err, _ := v.(error)
		return err
	}
	err := checkKind(t, make(map[reflect.Type]bool))
	plans.Store(t, err)
	return err
}

func checkKind(t reflect.Type, seen map[reflect.Type]bool) error {
	if seen[t] || codesItself(t) {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Array, reflect.Slice:
		return checkKind(t.Elem(), seen)
	case reflect.Map:
		if err := checkKind(t.Key(), seen); err != nil {
			return err
		}
		return checkKind(t.Elem(), seen)
	case reflect.Struct:
		return checkStruct(t, seen)
	case reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128,
		reflect.Uintptr:
		return fmt.Errorf("%s cannot go over the wire", t)
	}
	return nil
}

func checkStruct(t reflect.Type, seen map[reflect.Type]bool) error {
	if t.PkgPath() == "time" {
		return fmt.Errorf("%s cannot go over the wire: send nanoseconds", t)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("msgpack")
		switch {
		case f.Anonymous:
			return fmt.Errorf("%s.%s: an embedded field cannot go over the wire", t, f.Name)
		case !onWire(f):
			continue
		case strings.Contains(tag, ","):
			return fmt.Errorf("%s.%s: field options %q would shift the fields after it", t, f.Name, tag)
		}
		if err := checkKind(f.Type, seen); err != nil {
			return fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
	}
	return nil
}

// onWire reports whether the codec writes field f.
func onWire(f reflect.StructField) bool { return f.IsExported() && f.Tag.Get("msgpack") != "-" }

var (
	customDecoder = reflect.TypeFor[msgpack.CustomDecoder]()
	binaryDecoder = reflect.TypeFor[encoding.BinaryUnmarshaler]()
	textDecoder   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// codesItself reports whether t brings a codec of its own, such as netip.Addr, which is then trusted
// with its bytes.
func codesItself(t reflect.Type) bool {
	if t.PkgPath() == "time" || t.Name() == "" {
		return false
	}
	p := reflect.PointerTo(t)
	return p.Implements(customDecoder) || p.Implements(binaryDecoder) || p.Implements(textDecoder)
}

// layout is what decoding has to know of a type.
type layout struct {
	codesItself bool
	fields      []int // of a struct: those on the wire
}

// layouts remembers the layout of each type met (reflect.Type to *layout).
var layouts sync.Map

func layoutOf(t reflect.Type) *layout {
	if v, ok := layouts.Load(t); ok {
		return v.(*layout)
	}
	l := &layout{codesItself: codesItself(t)}
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if onWire(t.Field(i)) {
				l.fields = append(l.fields, i)
			}
		}
	}
	layouts.Store(t, l)
	return l
}
