package state

import (
	"testing"

	"github.com/datanode/datanode/policies"
)

// Who asked is said where every node understands it, and what says so is of the level that does.
func TestWhoAskedIsSaidAtItsLevel(t *testing.T) {
	for _, c := range []struct {
		cmd  Command
		want Level
	}{
		{&Join{Node: "n1"}, LevelFirst}, {&Join{Node: "n1", AskedBy: "node/n1"}, LevelMembers},
		{&SetVoter{Node: "n1"}, LevelFirst}, {&SetVoter{Node: "n1", AskedBy: "node/n2"}, LevelMembers},
		{&Set{Key: "replicas", Value: "1", AskedBy: "admin/me"}, LevelNamed},
		{&Join{Node: "n1", Seen: 4, AskedBy: "node/n1"}, LevelMembers},
	} {
		if got := LevelOf([]Command{c.cmd}); got != c.want {
			t.Errorf("%+v is of level %d, want %d", c.cmd, got, c.want)
		}
	}
	for _, c := range []struct {
		node, log Level
		want      Identity
	}{
		{LevelMembers, LevelMembers, "node/n1"}, {LevelMembers - 1, LevelMembers, ""}, {LevelMembers, LevelMembers - 1, ""},
	} {
		s := New()
		s.Apply(1, 0, []Command{&Join{Node: "n1", Addr: "a", Incarnation: 1, Level: LevelNow},
			&Join{Node: "n2", Addr: "b", Incarnation: 1, Level: c.node}})
		s.Level = c.log
		if got := s.Snapshot().NamedMember("node/n1"); got != c.want {
			t.Errorf("with a node of level %d and a log of %d: %q, want %q", c.node, c.log, got, c.want)
		}
	}
}

// A name beside it makes no command one that older builds understand: they would refuse a setting that others take, and
// their state would differ in silence.
func TestANameDoesNotLowerTheLevel(t *testing.T) {
	known := 0
	for _, table := range settingTable() {
		plain := LevelOf([]Command{&Set{Key: table.key}})
		if plain > LevelNamed {
			known++
		}
		if got := LevelOf([]Command{&Set{Key: table.key, AskedBy: "admin/me"}}); got != max(plain, LevelNamed) {
			t.Errorf("%s is of level %d with a name, of %d without", table.key, got, plain)
		}
	}
	if known < 4 {
		t.Errorf("%d settings are of a level above that of names; the test shows little", known)
	}
	admit := &Admit{Kind: policies.KindCreate, Start: true, AskedBy: "client/me", GraceMicros: 1}
	if got := LevelOf([]Command{admit}); got != LevelKept {
		t.Errorf("%+v is of level %d, want %d", admit, got, LevelKept)
	}
}
