package state

import "testing"

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
	for level, want := range map[Level]Identity{LevelMembers - 1: "", LevelMembers: "node/n1"} {
		s := New()
		s.Apply(1, 0, []Command{&Join{Node: "n1", Addr: "a", Incarnation: 1, Level: LevelNow},
			&Join{Node: "n2", Addr: "b", Incarnation: 1, Level: level}})
		if got := s.Snapshot().NamedMember("node/n1"); got != want {
			t.Errorf("with a node of level %d: %q, want %q", level, got, want)
		}
	}
}
