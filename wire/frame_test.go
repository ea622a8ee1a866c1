package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestGoldenFrames holds the format to the bytes in testdata/frames:
//
//	frame kind=request op=1 id=7 ... body=HEX raw=HEX   prints the frame's bytes
//	hello cell=c1 ...                                   prints a hello frame's bytes
//	error code=3 ...                                    prints an error frame's bytes
//	parse (hex as input)                                prints what is in the frame, or the error
func TestGoldenFrames(t *testing.T) {
	datadriven.RunTest(t, "testdata/frames", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "frame":
			h := headerArgs(t, d)
			return dumpAndCheck(t, h, hexArg(t, d, "body"), hexArg(t, d, "raw"))
		case "hello":
			return dumpAndCheck(t, Header{Kind: KindHello}, mustMarshal(t, helloArgs(d)), nil)
		case "error":
			h := headerArgs(t, d)
			e := Error{Op: h.Op, Code: Code(uintArg(d, "code")), Outcome: Outcome(uintArg(d, "outcome")),
				Node: stringArg(d, "node"), Detail: stringArg(d, "detail")}
			return dumpAndCheck(t, h, mustMarshal(t, &e), nil)
		case "parse":
			b, err := hex.DecodeString(strings.Join(strings.Fields(d.Input), ""))
			if err != nil {
				t.Fatal(err)
			}
			_, f, err := ParseFrame(b)
			if err != nil {
				return err.Error() + "\n"
			}
			return fmt.Sprintf("%s flags=%d deadline=%d fence=%d index=%d body=%x raw=%x\n",
				f.Header, f.Flags, f.Deadline, f.Fence, f.MinIndex, f.Body, f.Raw)
		}
		t.Fatalf("unknown command %q", d.Cmd)
		return ""
	})
}

// dumpAndCheck prints the frame in hex, and makes sure that both ways to write it agree and that it
// reads back.
func dumpAndCheck(t *testing.T, h Header, body, raw []byte) string {
	b := AppendFrame(nil, &h, body, raw)
	start := AppendFrameStart(nil, &h, body, len(raw))
	parts := append(append([]byte(nil), start...), raw...)
	if parts = AppendFrameEnd(parts, start, raw); !bytes.Equal(b, parts) {
		t.Errorf("in parts the frame is %x, whole it is %x", parts, b)
	}
	rest, f, err := ParseFrame(b)
	if err != nil || len(rest) != 0 || f.Header != h || !bytes.Equal(f.Body, body) || !bytes.Equal(f.Raw, raw) {
		t.Errorf("read back as %+v, %d bytes left, %v", f, len(rest), err)
	}
	var out strings.Builder
	for line := range chunks(b, 16) {
		fmt.Fprintf(&out, "% x\n", line)
	}
	return out.String()
}

func chunks(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}

func headerArgs(t *testing.T, d *datadriven.TestData) Header {
	h := Header{Op: OpType(uintArg(d, "op")), ID: uintArg(d, "id"), Session: Session(uintArg(d, "session")),
		Flags:    Flags(uintArg(d, "flags")),
		Deadline: uintArg(d, "deadline"), Fence: uintArg(d, "fence"), MinIndex: uintArg(d, "index")}
	kind := stringArg(d, "kind")
	if d.Cmd == "error" {
		kind = "error"
	}
	for k := KindHello; k < kindEnd; k++ {
		if k.String() == kind {
			h.Kind = k
			return h
		}
	}
	t.Fatalf("unknown kind %q", kind)
	return h
}

func helloArgs(d *datadriven.TestData) *Hello {
	return &Hello{Magic: Magic, MinVersion: MinVersion, MaxVersion: Version, Cell: stringArg(d, "cell"),
		Node:        stringArg(d, "node"),
		Incarnation: uintArg(d, "incarnation"), MaxFrameBytes: DefaultMaxFrameBytes, WindowBytes: 1 << 20,
		SessionWindowBytes: 8 << 20, MaxInFlight: 4096}
}

func stringArg(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return strings.Join(a.Vals, " ")
		}
	}
	return ""
}

func uintArg(d *datadriven.TestData, key string) uint64 {
	n, _ := strconv.ParseUint(stringArg(d, key), 0, 64) // absent: 0
	return n
}

func hexArg(t *testing.T, d *datadriven.TestData, key string) []byte {
	b, err := hex.DecodeString(stringArg(d, key))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func drawHeader(t *rapid.T) Header {
	return Header{
		Kind: Kind(rapid.IntRange(int(KindRequest), int(KindError)).Draw(t, "kind")),
		Op:   OpType(rapid.Uint16Min(1).Draw(t, "op")),
		ID:   rapid.Uint64Min(1).Draw(t, "id"), Session: Session(rapid.IntRange(1, 5).Draw(t, "session")),
		Flags:    Flags(rapid.Byte().Draw(t, "flags")),
		Deadline: rapid.Uint64().Draw(t, "deadline"), Fence: rapid.Uint64().Draw(t, "fence"),
		MinIndex: rapid.Uint64().Draw(t, "index"),
	}
}

// Frames read back as they were written, one after the other, and any flipped bit is noticed.
func TestFramesReadBack(t *testing.T) {
	bytesGen := rapid.SliceOfN(rapid.Byte(), 0, 300)
	rapid.Check(t, func(t *rapid.T) {
		first, second := drawHeader(t), drawHeader(t)
		body, raw := bytesGen.Draw(t, "body"), bytesGen.Draw(t, "raw")
		one := AppendFrame(nil, &first, body, raw)
		if len(one) > FrameOverhead+len(body)+len(raw) {
			t.Fatalf("frame of %d bytes exceeds its bound", len(one))
		}
		buf := AppendFrame(append([]byte(nil), one...), &second, nil, raw)
		rest, f, err := ParseFrame(buf)
		if err != nil || f.Header != first || !bytes.Equal(f.Body, body) || !bytes.Equal(f.Raw, raw) {
			t.Fatalf("got %+v, %v, want %+v", f, err, first)
		}
		if _, f, err = ParseFrame(rest); err != nil || f.Header != second || len(f.Body) != 0 || !bytes.Equal(f.Raw, raw) {
			t.Fatalf("got %+v, %v, want %+v", f, err, second)
		}
		bit := rapid.IntRange(0, 8*len(one)-1).Draw(t, "bit")
		one[bit/8] ^= 1 << (bit % 8)
		if _, f, err := ParseFrame(one); err == nil {
			t.Fatalf("bit %d flipped, and still %+v", bit, f)
		}
	})
}

func TestHeaderMayGrow(t *testing.T) {
	h := Header{Kind: KindRequest, Op: 1, ID: 2, Session: 1}
	b := AppendHeader(nil, &h)
	b[0] = codeFixArray | headerFields + 1
	rest, got, err := ParseHeader(append(AppendUint(b, 1<<40), 'x'))
	if err != nil || got != h || string(rest) != "x" {
		t.Fatalf("got %+v, %q, %v", got, rest, err)
	}
}

func TestFrameSizeIsCheckedFirst(t *testing.T) {
	for _, c := range []struct {
		buf  []byte
		size int
		ok   bool
	}{
		{[]byte{1, 2, 3}, 0, true},
		{[]byte{96, 0, 0, 0}, 100, true},
		{[]byte{97, 0, 0, 0}, 0, false},
		{[]byte{13, 0, 0, 0}, 0, false},
		{[]byte{0xff, 0xff, 0xff, 0xff}, 0, false},
	} {
		if size, err := FrameSize(c.buf, 100); size != c.size || (err == nil) != c.ok {
			t.Errorf("%v: got %d, %v", c.buf, size, err)
		}
	}
}

func TestFramesDoNotAllocate(t *testing.T) {
	h := Header{Kind: KindRequest, Op: 1, ID: 1 << 50, Session: 1, Deadline: 9e6}
	buf := make([]byte, 0, 1024)
	body := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		b := AppendFrame(buf, &h, body, body)
		if _, _, err := ParseFrame(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations, want none", n)
	}
}

func TestNegotiate(t *testing.T) {
	base := Hello{Magic: Magic, MinVersion: 2, MaxVersion: 4, Cell: "c1", Node: "n1", Features: 6, MaxFrameBytes: 1 << 20,
		WindowBytes: 1 << 20, SessionWindowBytes: 1 << 20, MaxInFlight: 1}
	cases := []struct {
		name   string
		change func(*Hello)
		want   Agreed
		code   Code
	}{
		{"same", func(*Hello) {}, Agreed{4, 6, 1 << 20}, 0},
		{"older, fewer, smaller",
			func(h *Hello) { h.MinVersion, h.MaxVersion, h.Features, h.MaxFrameBytes = 1, 3, 12, 1<<17 }, Agreed{3, 4, 1 << 17},
			0},
		{"no cell yet", func(h *Hello) { h.Cell = "" }, Agreed{4, 6, 1 << 20}, 0},
		{"other cell", func(h *Hello) { h.Cell = "c2" }, Agreed{}, CodeWrongCell},
		{"too new", func(h *Hello) { h.MinVersion, h.MaxVersion = 5, 6 }, Agreed{}, CodeProtocol},
		{"too old", func(h *Hello) { h.MinVersion, h.MaxVersion = 1, 1 }, Agreed{}, CodeProtocol},
		{"not us", func(h *Hello) { h.Magic = "http" }, Agreed{}, CodeProtocol},
		{"tiny frames", func(h *Hello) { h.MaxFrameBytes = 100 }, Agreed{}, CodeProtocol},
		{"tiny window", func(h *Hello) { h.WindowBytes = 100 }, Agreed{}, CodeProtocol},
		{"no calls", func(h *Hello) { h.MaxInFlight = 0 }, Agreed{}, CodeProtocol},
		{"a client", func(h *Hello) { h.Node = "" }, Agreed{4, 6, 1 << 20}, 0},
		{"a long name", func(h *Hello) { h.Node = strings.Repeat("n", MaxNameBytes) }, Agreed{4, 6, 1 << 20}, 0},
		{"too long a name", func(h *Hello) { h.Node = strings.Repeat("n", MaxNameBytes+1) }, Agreed{}, CodeProtocol},
		{"too long a cell", func(h *Hello) { h.Cell = strings.Repeat("c", MaxNameBytes+1) }, Agreed{}, CodeProtocol},
		{"an escape in the name", func(h *Hello) { h.Node = "n\x1b[2J" }, Agreed{}, CodeProtocol},
		{"a forged line", func(h *Hello) { h.Node = "n2\nn3" }, Agreed{}, CodeProtocol},
		{"writing backwards", func(h *Hello) { h.Node = "n\u202e2" }, Agreed{}, CodeProtocol},
		{"no UTF-8", func(h *Hello) { h.Cell = "c\xff" }, Agreed{}, CodeProtocol},
	}
	for _, c := range cases {
		theirs := base
		c.change(&theirs)
		got, err := Negotiate(&base, &theirs)
		if !reflect.DeepEqual(got, c.want) || CodeOf(err) != c.code {
			t.Errorf("%s: got %+v, %v, want %+v, %s", c.name, got, err, c.want, c.code)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, b := range goldenFrames(f) {
		f.Add(b)
		f.Add(b[min(4, len(b)):]) // as sealed takes it
	}
	h := Header{Kind: KindRequest, Op: 1, ID: 2, Session: 1}
	f.Add(AppendFrame(nil, &h, []byte{0x90}, []byte("raw")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4 { // let the fuzzer past length and CRC
			b = sealed(b)
		}
		rest, fr, err := ParseFrame(b)
		if err != nil {
			return
		}
		h := fr.Header
		again := AppendFrame(nil, &h, fr.Body, fr.Raw)
		_, fr2, err := ParseFrame(again)
		if err != nil || fr2.Header != fr.Header || !bytes.Equal(fr2.Body, fr.Body) || !bytes.Equal(fr2.Raw, fr.Raw) {
			t.Fatalf("%+v became %+v: %v (%d bytes left)", fr, fr2, err, len(rest))
		}
	})
}

// sealed is content with the length and CRC that make it a frame.
func sealed(content []byte) []byte {
	b := append([]byte{0, 0, 0, 0}, content...)
	n := len(content) + crcBytes
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return AppendFrameEnd(b, b, nil)
}

func FuzzParseHeader(f *testing.F) {
	for _, b := range goldenFrames(f) {
		f.Add(b[min(4, len(b)):])
	}
	f.Add(AppendHeader(nil, &Header{Kind: KindChunk, Op: 3, ID: 1 << 60, Session: 2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if _, again, err := ParseHeader(AppendHeader(nil, &h)); err != nil || again != h {
			t.Fatalf("%+v became %+v: %v", h, again, err)
		}
	})
}

// Who a request is made for comes back as it was written, and nothing else is taken for it.
func TestOnBehalf(t *testing.T) {
	for _, who := range []string{"client/backup", "node/n1", strings.Repeat("x", MaxIdentityBytes)} {
		body := append(AppendOnBehalf(nil, who), 0x93)
		if rest, got, err := ParseOnBehalf(body); err != nil || got != who || len(rest) != 1 {
			t.Errorf("%q: got %q, %d bytes left, %v", who, got, len(rest), err)
		}
		if _, _, err := ParseOnBehalf(body[:len(who)]); err == nil {
			t.Errorf("%q cut short is taken", who)
		}
	}
	for _, bad := range []string{"", "a\x00b", "a\nb", strings.Repeat("x", MaxIdentityBytes+1)} {
		if _, got, err := ParseOnBehalf(AppendOnBehalf(nil, bad)); err == nil {
			t.Errorf("%q is taken as %q", bad, got)
		}
	}
	if _, _, err := ParseOnBehalf([]byte{0x91, 1, 'a'}); err == nil {
		t.Error("a body that begins with an array is taken")
	}
}
