package wasm_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// Every way to read has something that it fails on, at the byte where that is found; and what is read
// after an error is nothing.
func TestReadingWhatIsNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		module string
		read   func(c *wasm.Cursor)
		offset int
		detail string
	}{
		"bytes":       {"ab", func(c *wasm.Cursor) { c.Bytes(3) }, 0, "3 bytes are named where 2 are left"},
		"a byte":      {"", func(c *wasm.Cursor) { c.Byte() }, 0, "1 bytes are named where 0 are left"},
		"a part":      {"ab", func(c *wasm.Cursor) { c.Sub(1<<32 - 1) }, 0, "4294967295 bytes are named where 2"},
		"a count":     {"\xff\xff\xff\xff\x0fa", func(c *wasm.Cursor) { c.Count("types") }, 5, "4294967295 types in 1 bytes"},
		"an index":    {"\x07", func(c *wasm.Cursor) { c.Index(7, "type") }, 1, "type 7 of 7"},
		"33 bits":     {"\xff\xff\xff\xff\x1f", func(c *wasm.Cursor) { c.U32() }, 5, "more than 32 bits"},
		"six bytes":   {"\x80\x80\x80\x80\x80\x00", func(c *wasm.Cursor) { c.U32() }, 5, "more than 32 bits"},
		"half":        {"\x80", func(c *wasm.Cursor) { c.U32() }, 1, "1 bytes are named"},
		"a long skip": {"\x80\x80\x00", func(c *wasm.Cursor) { c.Skip(2) }, 2, "too long"},
		"a type":      {"\x63", func(c *wasm.Cursor) { c.ValueType() }, 1, "value type 0x63"},
		"a block":     {"\x05", func(c *wasm.Cursor) { c.BlockType(5) }, 1, "block type 5 of 5"},
		"a zero":      {"\x01", func(c *wasm.Cursor) { c.Zero() }, 1, "0x1, where only 0"},
		"a select":    {"\x02\x7f\x7f", func(c *wasm.Cursor) { c.Immediates(wasm.OpSelectTyped) }, 1, "select of 2 types"},
		"a table":     {"\x05\x00", func(c *wasm.Cursor) { c.Immediates(wasm.OpBrTable) }, 1, "5 branch targets in 1 bytes"},
	} {
		cursor := wasm.Read([]byte(c.module))
		c.read(&cursor)
		var e *wasm.SyntaxError
		if !errors.As(cursor.Err, &e) || e.Offset != c.offset || !strings.Contains(e.Detail, c.detail) {
			t.Errorf("%s: %v, want at byte %d: ...%s...", name, cursor.Err, c.offset, c.detail)
			continue
		}
		if cursor.U32() != 0 || cursor.Byte() != 0 || cursor.Bytes(1) != nil || cursor.Count("more") != 0 ||
			cursor.Err != error(e) {
			t.Errorf("%s: it reads on, to %v", name, cursor.Err)
		}
	}
}

// A part of a module is read to its end and no further.
func TestParts(t *testing.T) {
	c := wasm.Read([]byte("\x02\xe5\x8e\x26"))
	part := c.Sub(c.U32())
	if c.Peek() != 0x26 || c.Left() != 1 || part.Left() != 2 || part.Off != 1 {
		t.Errorf("%+v and %+v", c, part)
	}
	if part.U32(); part.Err == nil {
		t.Errorf("read beyond the part's end, to %+v", part)
	}
	if c.U32() != 0x26 || c.Err != nil || c.Peek() != 0 {
		t.Errorf("%+v, want it read to its end", c)
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]uint32{
		"\x00": 0, "\x7f": 127, "\x80\x01": 128, "\xe5\x8e\x26": 624485, "\xff\xff\xff\xff\x0f": 1<<32 - 1, "\x81\x00": 1,
	} {
		c := wasm.Read([]byte(text))
		if have := c.U32(); have != want || c.Err != nil || c.Left() != 0 {
			t.Errorf("%x: %d, %v, want %d", text, have, c.Err, want)
		}
	}
}

// Sections come in one order; the place of each is behind that of those before it.
func TestOrder(t *testing.T) {
	place := 0
	for _, id := range wasm.Order {
		if place = wasm.After(place, id); place == 0 {
			t.Fatalf("section %d has no place", id)
		}
		if wasm.After(place, id) != 0 {
			t.Errorf("section %d may come twice", id)
		}
	}
	if wasm.After(0, wasm.Sections) != 0 || wasm.After(wasm.After(0, wasm.SecCode), wasm.SecDataCount) != 0 {
		t.Error("a section is unknown or out of order, and has a place")
	}
}

// FuzzCursor reads instructions for as long as there are any: each takes a byte at least.
func FuzzCursor(f *testing.F) {
	f.Add([]byte("\x20\x00\x41\x05\x6a\x0e\x02\x00\x01\x00\xfc\x0a\x00\x00\x0b"))
	f.Fuzz(func(t *testing.T, code []byte) {
		c := wasm.Read(code)
		for n := 0; c.Err == nil && c.Left() > 0; n++ {
			if n > len(code) {
				t.Fatalf("it does not end: %+v", c)
			}
			switch op := c.Byte(); op {
			case wasm.OpMisc:
				c.Misc(c.U32())
			case wasm.OpBlock, wasm.OpLoop, wasm.OpIf:
				c.BlockType(3)
			default:
				c.Immediates(op)
			}
			if c.Off > c.End {
				t.Fatalf("it reads beyond the end: %+v", c)
			}
		}
	})
}
