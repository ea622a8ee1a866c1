package wire

import (
	"bytes"
	"encoding/hex"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// goldenFrames are the frames of testdata/frames, for fuzzing to start from: good ones, and those that
// parse refuses.
func goldenFrames(tb testing.TB) [][]byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "frames"))
	if err != nil {
		tb.Fatal(err)
	}
	var all [][]byte
	for _, block := range strings.Split(string(text), "\n\n") {
		before, after, _ := strings.Cut(block, "----\n")
		for _, part := range []string{before, after} {
			var digits strings.Builder
			for _, line := range strings.Split(part, "\n") {
				if s := strings.ReplaceAll(line, " ", ""); len(s) > 0 && strings.Trim(s, "0123456789abcdef") == "" {
					digits.WriteString(s)
				}
			}
			if b, err := hex.DecodeString(digits.String()); err == nil && len(b) > 0 {
				all = append(all, b)
			}
		}
	}
	if len(all) < 20 {
		tb.Fatalf("only %d golden frames found", len(all))
	}
	return all
}

// goldenBodies are the bodies of those that are frames.
func goldenBodies(tb testing.TB) [][]byte {
	var all [][]byte
	for _, b := range goldenFrames(tb) {
		if _, f, err := ParseFrame(b); err == nil && len(f.Body) > 0 {
			all = append(all, f.Body)
		}
	}
	return all
}

// bodies makes one of each type that is a body of its own.
var bodies = []func() any{
	made[Error], made[Hello], made[Locator], made[ScrubRequest], made[ScrubReply],
	made[DisksRequest], made[DisksReply], made[Disk], made[DiskChangeRequest], made[DiskChangeReply],
	made[HealthRequest], made[HealthReply], made[StopRequest], made[StopReply], made[BalanceRequest], made[BalanceReply],
	made[PauseRequest], made[PauseReply],
	made[BlockedRequest], made[BlockedReply],
	made[PutRequest], made[ReadRequest], made[ReadReply],
	made[SessionRequest], made[SessionReply], made[SubmitRequest], made[SubmitReply],
	made[PunchRequest], made[PunchReply],
	made[CancelRequest], made[ReorderRequest], made[UndeleteRequest],
	made[NodeRemoveRequest], made[NodeRemoveReply], made[OpsRequest], made[Op],
	made[OpsReply], made[ShowOpRequest], made[WaitRequest],
	made[ExtentsRequest], made[ExtentsReply], made[VerifyRequest], made[VerifyReply],
	made[NodesReply], made[Status], made[ConnsReply],
	made[SettingRequest], made[SettingsReply], made[InventoryReply],
	made[PolicyLoadRequest], made[PolicyRequest], made[Policy], made[PoliciesReply],
	made[LogRequest], made[LogReply], made[LogVerifyRequest], made[LogVerifyReply], made[LogChainRequest],
	made[LogChainReply], made[LogSnapshotsRequest], made[LogSnapshotsReply], made[LogSnapshotRequest],
	made[LogSnapshotReply],
	made[JoinRequest], made[JoinReply], made[Heartbeat], made[HeartbeatReply],
	made[ProposeRequest], made[ProposeReply],
	made[ReplicaCreate], made[ReplicaAppend], made[ReplicaFence], made[ReplicaLength], made[ReplicaRead], made[ReplicaSum],
}

func made[T any]() any { return new(T) }

// No struct of this package crosses the wire without being fuzzed, by itself or in another.
func TestEveryBodyIsFuzzed(t *testing.T) {
	reached := map[string]bool{}
	var reach func(reflect.Type)
	reach = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			reach(typ.Elem())
		case reflect.Struct:
			reached[typ.Name()] = true
			for i := range typ.NumField() {
				reach(typ.Field(i).Type)
			}
		}
	}
	for _, b := range bodies {
		reach(reflect.TypeOf(b()))
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	structs := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok && isBody(s) {
				structs++
				if !reached[spec.Name.Name] {
					t.Errorf("%s: %s is not fuzzed", name, spec.Name.Name)
				}
			}
			return false
		})
	}
	if structs < 50 {
		t.Errorf("only %d structs found", structs)
	}
}

// isBody reports whether a struct is laid out for the wire.
func isBody(s *ast.StructType) bool {
	f := s.Fields.List
	return len(f) > 0 && len(f[0].Names) > 0 && f[0].Names[0].Name == "_msgpack"
}

// Any bytes are refused, or are a body that means the same once written again. Decoding takes no more
// memory than the budget of the message.
func FuzzBodies(f *testing.F) {
	for i := range bodies {
		for _, b := range goldenBodies(f) {
			f.Add(uint8(i), b)
		}
		if b, err := Marshal(bodies[i]()); err == nil {
			f.Add(uint8(i), b)
		}
		for _, b := range hostileBodies() {
			f.Add(uint8(i), b)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		body := bodies[int(which)%len(bodies)]
		v := body()
		if Unmarshal(b, v) != nil {
			return
		}
		if err := Scan(b); err != nil {
			t.Fatalf("decoded what the scan refuses: %v", err)
		}
		once, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		w := body()
		if err := Unmarshal(once, w); err != nil {
			t.Fatalf("%T does not read back: %v", v, err)
		}
		twice, err := Marshal(w)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%T is %x, read back %x, %v", v, once, twice, err)
		}
	})
}

func FuzzParseUint(f *testing.F) {
	for v := uint64(1); v != 0; v <<= 7 {
		f.Add(AppendUint(nil, v))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, v, ok := ParseUint(b)
		if !ok {
			return
		}
		short := AppendUint(nil, v)
		if taken := len(b) - len(rest); len(short) > taken || !bytes.Equal(b[taken:], rest) {
			t.Fatalf("%d took %d bytes, the shortest form has %d", v, taken, len(short))
		}
		if rest, again, ok := ParseUint(short); !ok || again != v || len(rest) != 0 {
			t.Fatalf("%d became %d, %t", v, again, ok)
		}
	})
}

// A frame that is skimmed, in pieces, is judged as one that is parsed, with the CRC that it has and with the right one.
func FuzzSkimFrame(f *testing.F) {
	for _, b := range goldenFrames(f) {
		f.Add(b, uint16(0))
		damaged := append([]byte(nil), b...)
		damaged[len(b)/2] ^= 1
		f.Add(damaged, uint16(0))
	}
	h := Header{Kind: KindRequest, Op: 1, ID: 2, Session: 1}
	f.Add(AppendFrame(nil, &h, []byte{0x90}, nil), uint16(3*skimBytes))
	f.Fuzz(func(t *testing.T, b []byte, more uint16) {
		b = append(b, make([]byte, more)...) // long enough for several pieces
		skimsAsItParses(t, b)
		if len(b) > 4 {
			skimsAsItParses(t, sealed(b[4:]))
		}
	})
}

func skimsAsItParses(t *testing.T, b []byte) {
	t.Helper()
	size, err := FrameSize(b, len(b))
	if err != nil || size == 0 {
		return
	}
	left := b[:size]
	skimmed, rawLen, skimErr := SkimFrame(size, func(n int) ([]byte, error) {
		piece := append([]byte(nil), left[:n]...) // gone at the next call
		left = left[n:]
		return piece, nil
	})
	_, parsed, err := ParseFrame(b)
	if (err == nil) != (skimErr == nil) {
		t.Fatalf("parsed: %v, skimmed: %v", err, skimErr)
	}
	if err == nil && (skimmed != parsed.Header || rawLen != len(parsed.Raw) || len(left) != 0) {
		t.Fatalf("parsed %+v with %d raw bytes, skimmed %+v with %d", parsed.Header, len(parsed.Raw), skimmed, rawLen)
	}
}
