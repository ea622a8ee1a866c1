package guest

import (
	"encoding/json"
	"slices"
	"testing"
	"unsafe"

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
		have := whole(unsafe.Pointer(&aligned(plugins.AppendFacts(nil, &want))[0]), factsBytes)
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
		Coexist: policies.Coexist, Wait: policies.Wait, Supersede: policies.Supersede, Merge: policies.Merge,
		Reject: policies.Reject,
	} {
		if uint8(have) != uint8(want) {
			t.Errorf("verdict %d, want %v", have, want)
		}
	}
	phases := []Phase{Incoming, Queued, Running}
	origins := []Origin{ByUser, ByCell, ByDecommission}
	if !slices.Equal(phases, []Phase{Phase(policies.PhaseIncoming), Phase(policies.PhaseQueued),
		Phase(policies.PhaseRunning)}) {
		t.Errorf("phases %v", phases)
	}
	if !slices.Equal(origins, []Origin{Origin(policies.OriginUser), Origin(policies.OriginCell),
		Origin(policies.OriginDecommission)}) {
		t.Errorf("origins %v", origins)
	}
}

func TestDescribeIsJSON(t *testing.T) {
	p := Policy{Name: "a", Version: "1", Reasons: []string{`says "no"`, `back\slash`, "ünïcode"},
		ConfigSchema: `{"type":"object"}`}
	var have struct {
		Name    string
		Reasons []string
		Config  map[string]string
	}
	if err := json.Unmarshal(p.describe(), &have); err != nil {
		t.Fatalf("%v: %s", err, p.describe())
	}
	if want := append([]string{"unspecified"}, p.Reasons...); have.Name != "a" || !slices.Equal(have.Reasons, want) ||
		have.Config["type"] != "object" {
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
