package guest

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
)

// asHost is the facts as the host has them.
func (f *Facts) asHost() policies.Facts {
	return policies.Facts{
		OpIndex: f.OpIndex, OpPlace: f.OpPlace, Kind: policies.Kind(f.Kind), Phase: policies.Phase(f.Phase),
		Origin: policies.Origin(f.Origin), Attempts: f.Attempts, Extent: f.Extent, ExtentOpen: f.ExtentOpen,
		Class: f.Class, LengthBytes: f.LengthBytes, LiveReplicas: f.LiveReplicas, WantReplicas: f.WantReplicas,
		NowMicros: f.NowMicros, WaitingMicros: f.WaitingMicros, QueuedOps: f.QueuedOps, RunningOps: f.RunningOps,
		RunningSame: f.RunningSame,
	}
}

// The guest reads what the host writes, field by field.
func TestFactsAreTheHosts(t *testing.T) {
	g := policytest.NewGenerator(3)
	for range 10_000 {
		want := g.Facts()
		var have Facts
		have.parse(plugins.AppendFacts(nil, &want))
		if have.asHost() != want {
			t.Fatalf("host wrote %+v, guest read %+v", want, have)
		}
		if have.ClassString() != want.ClassString() {
			t.Fatalf("class %q, want %q", have.ClassString(), want.ClassString())
		}
	}
}

func TestNumbersAreTheHosts(t *testing.T) {
	for have, want := range map[Kind]policies.Kind{
		Create: policies.KindCreate, Seal: policies.KindSeal, Repair: policies.KindRepair, Move: policies.KindMove,
		Delete: policies.KindDelete, Punch: policies.KindPunch, Decommission: policies.KindDecommission,
		Recommission: policies.KindRecommission,
	} {
		if uint8(have) != uint8(want) {
			t.Errorf("kind %d, want %v", have, want)
		}
	}
	for have, want := range map[Verdict]policies.Verdict{
		Coexist: policies.Coexist, Wait: policies.Wait, Supersede: policies.Supersede, Merge: policies.Merge, Reject: policies.Reject,
	} {
		if uint8(have) != uint8(want) {
			t.Errorf("verdict %d, want %v", have, want)
		}
	}
	phases := []Phase{Incoming, Queued, Running}
	origins := []Origin{ByUser, ByCell, ByDecommission}
	if !slices.Equal(phases, []Phase{Phase(policies.PhaseIncoming), Phase(policies.PhaseQueued), Phase(policies.PhaseRunning)}) {
		t.Errorf("phases %v", phases)
	}
	if !slices.Equal(origins, []Origin{Origin(policies.OriginUser), Origin(policies.OriginCell), Origin(policies.OriginDecommission)}) {
		t.Errorf("origins %v", origins)
	}
}

// batchOf lays records out with strides of its own, as a host of another age would.
func batchOf(stride, factsStride int, records ...[]byte) func(int) []byte {
	const longHeader = headerBytes + 8
	le := binary.LittleEndian
	buf := make([]byte, longHeader)
	le.PutUint16(buf, 1)
	le.PutUint16(buf[2:], longHeader)
	le.PutUint32(buf[4:], uint32(stride))
	le.PutUint32(buf[8:], uint32(len(records)))
	le.PutUint32(buf[12:], uint32(factsStride))
	le.PutUint32(buf[16:], answerBytes+8)
	for _, r := range records {
		buf = append(buf, append(r, make([]byte, stride)...)[:stride]...)
	}
	return func(n int) []byte { return buf[:n] }
}

// Longer records are read as far as they are known, shorter ones as if zeros followed.
func TestRecordsGrow(t *testing.T) {
	var seen []Facts
	p := Policy{
		Score: func(f *Facts) (int32, Reason) { seen = append(seen, *f); return -int32(f.Attempts), 9 },
		Conflict: func(existing, incoming *Facts, sameNode bool) (Verdict, Reason) {
			seen = append(seen, *existing, *incoming)
			return Merge, 3
		},
	}
	g := policytest.NewGenerator(4)
	a, b := g.Facts(), g.Facts()
	recA, recB := plugins.AppendFacts(nil, &a), plugins.AppendFacts(nil, &b)

	out := make([]byte, 2*(answerBytes+8))
	p.score(parseBatch(batchOf(96, 96, recA, recB)), out)
	if len(seen) != 2 || seen[0].asHost() != a || seen[1].asHost() != b {
		t.Errorf("longer facts were read as %+v", seen)
	}
	_, score, err := plugins.ParseScore(out[answerBytes+8:])
	if want := (policies.Score{Priority: -int32(b.Attempts), Reason: 9}); err != nil || score != want {
		t.Errorf("second answer %+v, %v, want %+v", score, err, want)
	}

	seen = nil
	p.score(parseBatch(batchOf(64, 64, recA)), out)
	short := a
	short.Class = [ClassBytes]byte{}
	if len(seen) != 1 || seen[0].asHost() != short {
		t.Errorf("shorter facts were read as %+v", seen)
	}

	seen = nil
	pair := append(make([]byte, pairPrefixBytes), append(recA, make([]byte, 16)...)...)
	p.conflict(parseBatch(batchOf(pairPrefixBytes+2*96+8, 96, append(pair, recB...))), out)
	if len(seen) != 2 || seen[0].asHost() != a || seen[1].asHost() != b {
		t.Errorf("a longer pair was read as %+v", seen)
	}
	if _, r, err := plugins.ParseResolution(out); err != nil || r.Verdict != policies.Merge || r.Reason != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDescribeIsJSON(t *testing.T) {
	p := Policy{Name: "a", Version: "1", Reasons: []string{`says "no"`, `back\slash`, "ünïcode"}, ConfigSchema: `{"type":"object"}`}
	var have struct {
		Name    string
		Reasons []string
		Config  map[string]string
	}
	if err := json.Unmarshal(p.describe(), &have); err != nil {
		t.Fatalf("%v: %s", err, p.describe())
	}
	if want := append([]string{"unspecified"}, p.Reasons...); have.Name != "a" || !slices.Equal(have.Reasons, want) || have.Config["type"] != "object" {
		t.Errorf("%+v", have)
	}
}

func TestRegisterWantsBoth(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a policy without Conflict was registered")
		}
	}()
	Register(Policy{Score: func(*Facts) (int32, Reason) { return 0, 0 }})
}
