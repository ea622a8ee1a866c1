package wire

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Encoded is a body that is msgpack already. Marshal copies it as it is.
type Encoded []byte

// Marshal encodes v as msgpack: structs as arrays of their exported fields in order, integers in
// their shortest form, maps of strings by their sorted keys. Times are not accepted; send an integer of nanoseconds.
func Marshal(v any) ([]byte, error) { return AppendMarshal(nil, v) }

// AppendMarshal is Marshal that appends to buf.
func AppendMarshal(buf []byte, v any) ([]byte, error) {
	if e, ok := v.(Encoded); ok {
		return append(buf, e...), nil
	}
	if err := checkType(reflect.TypeOf(v)); err != nil {
		return nil, err
	}
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.sink.b = buf
	e.enc.Reset(&e.sink)
	e.enc.UseCompactInts(true)
	e.enc.SetSortMapKeys(true)
	e.enc.UseArrayEncodedStructs(true)
	err := e.enc.Encode(v)
	out := e.sink.b
	e.sink.b = nil
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", typeName(reflect.TypeOf(v)), err)
	}
	return out, nil
}

// Unmarshal decodes exactly one value into v, a pointer. It scans b first, and never decodes into
// an interface. A struct takes its fields from an array in order: fields that the array lacks are
// left as they are, elements beyond the fields are skipped, so that structs can grow at the end.
func Unmarshal(b []byte, v any) error {
	if err := Scan(b); err != nil {
		return fmt.Errorf("decode %s: %w", typeName(reflect.TypeOf(v)), err)
	}
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("decode %s: want a pointer", typeName(reflect.TypeOf(v)))
	}
	if err := checkType(target.Type()); err != nil {
		return err
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	d.source = source{b: b}
	d.budget = allocBase + allocPerByte*len(b)
	d.dec.Reset(&d.source)
	err := d.decode(target.Elem())
	left := len(d.source.b)
	d.source = source{}
	if err == nil && left > 0 {
		err = errScanTail
	}
	if err != nil {
		return fmt.Errorf("decode %s: %w", typeName(reflect.TypeOf(v)), err)
	}
	return nil
}

// typeName is what docs/wire.md calls a type: errors go to peers, who need not know Go.
func typeName(t reflect.Type) string {
	switch {
	case t == nil:
		return "nil"
	case t.Kind() == reflect.Pointer:
		return typeName(t.Elem())
	case t.Name() != "":
		return t.Name()
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		return "[" + typeName(t.Elem()) + "]"
	}
	return t.Kind().String()
}

// The pools hold codecs between uses; they carry no state from one use to the next.
var (
	encoders = sync.Pool{New: func() any { return &encoder{enc: msgpack.NewEncoder(nil)} }}
	decoders = sync.Pool{New: func() any { return new(decoder) }}
)

type encoder struct {
	enc  *msgpack.Encoder
	sink sink
}

// sink appends what an encoder writes.
type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

func (s *sink) WriteByte(c byte) error {
	s.b = append(s.b, c)
	return nil
}

type decoder struct {
	dec    msgpack.Decoder
	source source
	budget int // bytes that the message may still make
	known  knownStrings
}
