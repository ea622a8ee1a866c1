package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

type oldMessage struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Name  string
	Count uint32
}

type newMessage struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Name  string
	Count uint32
	Parts []part
	Next  *part
	Sizes map[string]int64
}

type part struct {
	ID   uint64
	Data []byte
	On   bool
}

func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCodecRoundTrip(t *testing.T) {
	in := newMessage{Name: "a", Count: 70000, Next: &part{ID: 1 << 63}, Sizes: map[string]int64{"x": -5},
		Parts: []part{{ID: 7, Data: []byte{1, 2}, On: true}, {}}}
	var out newMessage
	if err := Unmarshal(mustMarshal(t, &in), &out); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, out) {
		t.Fatalf("got %+v, want %+v", out, in)
	}
}

// A struct that has grown at the end is read by old code, and an old one by new code.
func TestStructsGrow(t *testing.T) {
	var old oldMessage
	grown := newMessage{Name: "a", Count: 3, Parts: []part{{ID: 1}}, Sizes: map[string]int64{"x": 1}}
	if err := Unmarshal(mustMarshal(t, &grown), &old); err != nil {
		t.Fatal(err)
	}
	if old.Name != "a" || old.Count != 3 {
		t.Fatalf("old reader got %+v", old)
	}
	var fresh newMessage
	if err := Unmarshal(mustMarshal(t, &old), &fresh); err != nil {
		t.Fatal(err)
	}
	if fresh.Name != "a" || fresh.Count != 3 || fresh.Parts != nil || fresh.Next != nil {
		t.Fatalf("new reader got %+v", fresh)
	}
}

func TestErrorCrossesIntact(t *testing.T) {
	in := Error{Op: OpPut, Code: CodeNoSpace, Outcome: Unknown, Node: "n1", Detail: "no room"}
	var out Error
	if err := Unmarshal(mustMarshal(t, &in), &out); err != nil || in != out {
		t.Fatalf("got %+v, %v", out, err)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	hostile := hostileBodies()
	cases := []struct {
		name, want string
		body       []byte
		into       any
	}{
		{"empty", "middle of a value", nil, new(oldMessage)},
		{"trailing byte", "after the value", hostile["trailing byte"], new(oldMessage)},
		{"deep", "deeper than 16", hostile["deep"], new(oldMessage)},
		{"array of more than there is", "more elements than bytes", hostile["array of more than there is"], new(oldMessage)},
		{"map of more than there is", "more elements than bytes", hostile["map of more than there is"], new(oldMessage)},
		{"string of more than there is", "middle of a value", hostile["string of more than there is"], new(string)},
		{"extension", "not accepted", hostile["extension"], new(oldMessage)},
		{"an integer for a struct", "decode oldMessage: ", hostile["an integer"], new(oldMessage)},
		{"integer too large", "does not fit", hostile["integer too large"], new(oldMessage)},
		{"negative for an unsigned", "-1 does not fit", []byte{0x92, 0xa0, 0xff}, new(oldMessage)},
		{"negative of 64 bits", "-1 does not fit", append([]byte{0xd3}, bytes.Repeat([]byte{255}, 8)...), new(uint64)},
		{"above any signed", "9223372036854775808 does not fit", []byte{0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0}, new(int64)},
		{"slice of nothing", "too many for a message", hostile["slice of nothing"], new(newWide)},
		{"interface", "cannot go over the wire", hostile["an integer"], new(any)},
		{"not a pointer", "want a pointer", []byte{1}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := Unmarshal(c.body, c.into)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "*") || strings.Contains(err.Error(), "wire.") {
				t.Errorf("peers are told of types of Go: %v", err)
			}
		})
	}
}

type newWide struct {
	Name  string
	Count uint32
	Parts []widePart
}

type widePart struct{ A, B, C, D, E, F, G, H, I, J string }

func TestDepthAtTheLimit(t *testing.T) {
	b := append(bytes.Repeat([]byte{0x91}, MaxDepth), 0)
	if err := Scan(b); err != nil {
		t.Fatal(err)
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	b := mustMarshal(t, &newMessage{Name: "a", Parts: make([]part, 100)})
	if n := testing.AllocsPerRun(100, func() { _ = Scan(b) }); n != 0 {
		t.Fatalf("%v allocations, want none", n)
	}
}

func FuzzScan(f *testing.F) {
	for _, b := range goldenBodies(f) {
		f.Add(b)
	}
	f.Add([]byte{0x92, 1, 0xa1, 'x'})
	f.Add(bytes.Repeat([]byte{0x91}, MaxDepth+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m newMessage
		if Unmarshal(b, &m) == nil && Scan(b) != nil {
			t.Fatal("decoded what the scan refuses")
		}
	})
}

func FuzzHello(f *testing.F) {
	b, err := Marshal(&Hello{Magic: Magic, MinVersion: 1, MaxVersion: 1, Cell: "c", Node: "n1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, b := range goldenBodies(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h Hello
		if Unmarshal(b, &h) != nil {
			return
		}
		again, err := Marshal(&h)
		if err != nil {
			t.Fatal(err)
		}
		var h2 Hello
		if err := Unmarshal(again, &h2); err != nil || h != h2 {
			t.Fatalf("%+v became %+v: %v", h, h2, err)
		}
	})
}
