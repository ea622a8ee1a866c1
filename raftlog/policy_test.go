package raftlog

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// quietHours is a policy that was configured.
func quietHours() *state.LoadPolicy {
	p := &state.LoadPolicy{
		Name: "quiet-hours", Version: "1", Bytes: 1842, Source: "n1", Module: "sha256:aa",
		Config: map[string]string{"to": "6", "from": "22"},
	}
	p.Digest = policies.ConfiguredDigest(p.Module, p.Config)
	return p
}

// A policy that was loaded before policies had configurations is one without.
func TestPolicyEntriesWithoutConfig(t *testing.T) {
	// One command of type 14 with the five fields that it had: digest, name, version, bytes, source.
	body, err := hex.DecodeString("dd00000001" + "920e95" + "a97368613235363a6161" + "a17a" + "a131" + "cd0732" + "a26e31")
	if err != nil {
		t.Fatal(err)
	}
	commands, err := ParseCommands(body)
	want := []state.Command{&state.LoadPolicy{Digest: "sha256:aa", Name: "z", Version: "1", Bytes: 1842, Source: "n1"}}
	if err != nil || !reflect.DeepEqual(commands, want) {
		t.Fatalf("%+v, %v; want %+v", commands, err, want)
	}
	s := state.New()
	if res := s.Apply(1, 1, commands)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	if p := s.Policy("sha256:aa"); p.ModuleDigest() != "sha256:aa" || len(p.Config) != 0 {
		t.Errorf("%+v", p)
	}
}

// The order of a map is chance; what is written of it is not, or replicas' snapshots would differ.
func TestConfigIsWrittenInOrder(t *testing.T) {
	first, err := AppendCommands(nil, []state.Command{quietHours()})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		again, err := AppendCommands(nil, []state.Command{quietHours()})
		if err != nil || !bytes.Equal(again, first) {
			t.Fatalf("%x, %v; before %x", again, err, first)
		}
	}
	commands, err := ParseCommands(first)
	if err != nil || !reflect.DeepEqual(commands, []state.Command{quietHours()}) {
		t.Errorf("%+v, %v; want %+v", commands, err, quietHours())
	}
}

// A configured policy and the one before it outlast a snapshot, and so a restart and a node that joins.
func TestConfigSurvivesSnapshots(t *testing.T) {
	s := state.New()
	plain := &state.LoadPolicy{Digest: "sha256:aa", Name: "quiet-hours", Version: "1", Bytes: 1842, Source: "n1"}
	configured := quietHours()
	for i, res := range s.Apply(1, 5, []state.Command{
		&state.Genesis{Cell: "kiel"}, configured, plain,
		&state.ActivatePolicy{Digest: configured.Digest}, &state.ActivatePolicy{Digest: plain.Digest},
	}) {
		if res.Err != nil {
			t.Fatalf("command %d: %v", i, res.Err)
		}
	}
	var buf bytes.Buffer
	if err := (&snapshot{view: s.Snapshot(), chain: ChainPoint{Index: 1}}).write(&buf); err != nil {
		t.Fatal(err)
	}
	back, err := readSnapshot(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if res := back.st.Apply(2, 6, []state.Command{&state.RollbackPolicy{}})[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	if p := back.st.Policy(back.st.Active); !reflect.DeepEqual(p, configured) {
		t.Errorf("after the rollback %+v decides, want %+v", p, configured)
	}
}
