package state_test

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// A snapshot that was written before there were budgets comes up with the default ones, and with all else
// as it was: like a node that has applied the same log from its beginning.
func TestSnapshotWithoutBudgets(t *testing.T) {
	// A header as it was: applied 7, time 9, cell "c", next extent 3, epoch 2, no policies, eight settings.
	old, err := hex.DecodeString("98" + "07" + "09" + "a163" + "03" + "02" + "a0" + "a0" +
		"98" + "02" + "ce23c34600" + "ce01c9c380" + "ce0003d090" + "08" + "05" + "04" + "cd0100")
	if err != nil {
		t.Fatal(err)
	}
	var h state.Header
	if err := wire.Unmarshal(old, &h); err != nil {
		t.Fatal(err)
	}
	want := state.DefaultSettings()
	want.Replicas, want.CopiesPerSource = 2, 5
	restored, _ := state.Restore(h)
	if !reflect.DeepEqual(restored.Settings, want) || restored.PolicyEpoch != 2 || restored.Applied != 7 {
		t.Errorf("restored %+v\nwant the settings %+v", restored.Header(), want)
	}
	var again state.Header
	text, err := wire.AppendMarshal(nil, restored.Header())
	if err == nil {
		err = wire.Unmarshal(text, &again)
	}
	if err != nil || !reflect.DeepEqual(again, restored.Header()) {
		t.Errorf("%+v, %v; want %+v", again, err, restored.Header())
	}
}

// A decision that was recorded before budgets were is one whose budget is not known.
func TestDecisionWithoutBudget(t *testing.T) {
	whole, err := wire.AppendMarshal(nil, state.Decision{Policy: "p", Cost: 5})
	if err != nil {
		t.Fatal(err)
	}
	if whole[0] != 0x99 || whole[len(whole)-1] != 0 {
		t.Fatalf("%x, want an array of 9 that ends in the budget, 0", whole)
	}
	whole[0] = 0x98
	var d state.Decision
	if err := wire.Unmarshal(whole[:len(whole)-1], &d); err != nil || d.Policy != "p" || d.Cost != 5 || d.Budget != 0 {
		t.Errorf("%+v, %v", d, err)
	}
}

// What a setting prints can be set, and means the same number.
func TestUnitsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := state.MostBudget().Batch
		n := rapid.Uint64Range(1<<10, most).Draw(t, "units") &^ (1<<rapid.IntRange(0, 27).Draw(t, "zeros") - 1)
		s, err := state.DefaultSettings().With("policy-batch-budget", state.UnitsText(n))
		if n < 1<<10 {
			if err == nil || !strings.Contains(err.Error(), "1Ki (1024) to 128Mi") {
				t.Fatalf("%d units: %v", n, err)
			}
			return
		}
		if err != nil || s.Budget().Batch != n {
			t.Fatalf("%s is set as %d, %v; want %d", state.UnitsText(n), s.Budget().Batch, err, n)
		}
	})
}

func TestBudgetOf(t *testing.T) {
	b := policies.Budget{Batch: 1000, Record: 10}
	for records, want := range map[int]uint64{0: 0, 1: 1010, 256: 3560, 257: 4570, 512: 7120} {
		if have := b.Of(records); have != want {
			t.Errorf("%d records may take %d units, want %d", records, have, want)
		}
	}
}
