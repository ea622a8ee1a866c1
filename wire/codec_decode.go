package wire

import (
	"cmp"
	"fmt"
	"reflect"
)

// decode takes one value from d into v. The library's own way through structs and slices is not
// taken, for three reasons: it refuses a struct that has grown, it makes a slice as long as the
// input says, and it cuts integers that do not fit.
func (d *decoder) decode(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return d.decodeUint(v)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return d.decodeInt(v)
	case reflect.String:
		return d.decodeString(v)
	case reflect.Bool:
		if value, ok := d.source.takeBool(); ok {
			v.SetBool(value)
			return nil
		}
	}
	t := layoutOf(v.Type())
	if t.codesItself {
		return d.dec.DecodeValue(v)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.decodeStruct(v, t.fields)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return d.decodeSlice(v)
		}
	case reflect.Array:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return d.decodeArray(v)
		}
		if b, ok := d.source.takeBytes(v.Len()); ok {
			copy(v.Slice(0, v.Len()).Bytes(), b)
			return nil
		}
	case reflect.Map:
		return d.decodeMap(v)
	case reflect.Pointer:
		return d.decodePointer(v)
	}
	return d.dec.DecodeValue(v)
}

func (d *decoder) decodeUint(v reflect.Value) error {
	if d.source.nextIsNegative() { // the library would make a large number of it
		n, err := d.dec.DecodeInt64()
		return cmp.Or(err, fmt.Errorf("%d does not fit %s", n, typeName(v.Type())))
	}
	rest, n, ok := ParseUint(d.source.b)
	if ok {
		d.source.to(rest)
	} else {
		var err error
		if n, err = d.dec.DecodeUint64(); err != nil {
			return err
		}
	}
	if v.OverflowUint(n) {
		return fmt.Errorf("%d does not fit %s", n, typeName(v.Type()))
	}
	v.SetUint(n)
	return nil
}

func (d *decoder) decodeInt(v reflect.Value) error {
	if d.source.nextIsAboveInt64() { // the library would make a negative number of it
		n, err := d.dec.DecodeUint64()
		return cmp.Or(err, fmt.Errorf("%d does not fit %s", n, typeName(v.Type())))
	}
	n, err := d.dec.DecodeInt64()
	if err != nil {
		return err
	}
	if v.OverflowInt(n) {
		return fmt.Errorf("%d does not fit %s", n, typeName(v.Type()))
	}
	v.SetInt(n)
	return nil
}

func (d *decoder) decodeString(v reflect.Value) error {
	if b, ok := d.source.takeString(); ok {
		v.SetString(d.known.string(b))
		return nil
	}
	s, err := d.dec.DecodeString()
	if err != nil {
		return err
	}
	v.SetString(s)
	return nil
}

// arrayLen is how many elements of an array follow, -1 for nil.
func (d *decoder) arrayLen() (int, error) {
	if n, ok := d.source.takeShortArray(); ok {
		return n, nil
	}
	return d.dec.DecodeArrayLen()
}

// decodeStruct takes the fields of v from an array that may be shorter or longer. Nil stands for an
// empty array.
func (d *decoder) decodeStruct(v reflect.Value, fields []int) error {
	n, err := d.arrayLen()
	if err != nil {
		return err
	}
	for i := range n {
		if i >= len(fields) {
			err = d.dec.Skip()
		} else {
			err = d.decode(v.Field(fields[i]))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeSlice makes a slice only within the budget of the message. Nil stands for a nil slice.
func (d *decoder) decodeSlice(v reflect.Value) error {
	n, err := d.arrayLen()
	if err != nil {
		return err
	}
	if n < 0 {
		v.SetZero()
		return nil
	}
	if err := d.spend(n, v.Type().Elem()); err != nil {
		return err
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		if err := d.decode(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) decodeArray(v reflect.Value) error {
	n, err := d.arrayLen()
	if err != nil {
		return err
	}
	if n != v.Len() {
		return fmt.Errorf("%d elements, want the %d of %s", n, v.Len(), typeName(v.Type()))
	}
	for i := range n {
		if err := d.decode(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// decodeMap grows the map as elements come: its size is not taken from the input. Nil stands for a
// nil map.
func (d *decoder) decodeMap(v reflect.Value) error {
	n, err := d.dec.DecodeMapLen()
	if err != nil {
		return err
	}
	if n < 0 {
		v.SetZero()
		return nil
	}
	t := v.Type()
	v.Set(reflect.MakeMap(t))
	for range n {
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if err := d.spend(1, t.Elem()); err != nil {
			return err
		}
		if err := d.decode(key); err != nil {
			return err
		}
		if err := d.decode(value); err != nil {
			return err
		}
		v.SetMapIndex(key, value)
	}
	return nil
}

func (d *decoder) decodePointer(v reflect.Value) error {
	if d.source.nextIsNil() {
		v.SetZero()
		return d.dec.DecodeNil()
	}
	if err := d.spend(1, v.Type().Elem()); err != nil {
		return err
	}
	if v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
	}
	return d.decode(v.Elem())
}

// A body of n bytes may make at most allocBase + allocPerByte*n bytes of slices, maps and pointed-to
// values. An honest body spends a byte at least on each field of an element, and no field is larger
// than a few words, so that only a body made to hurt comes near.
const (
	allocBase    = 4 << 10
	allocPerByte = 64
)

// spend takes n elements of t from the message's budget.
func (d *decoder) spend(n int, t reflect.Type) error {
	size := int(t.Size())
	if size > 0 && n > d.budget/size {
		return fmt.Errorf("%d elements of %s are too many for a message of this size", n, typeName(t))
	}
	d.budget -= n * size
	return nil
}
