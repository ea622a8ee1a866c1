package state

import (
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// Level is a stage of what the commands of a log may say. Each build carries out those of its own level and of all
// below. An entry is written at the lowest level that its commands can be carried out at (its version, on disk),
// so that an older build stops at one that it would get wrong, instead of coming to another state than the
// others. The leader does not let it come to that: it refuses what a node of the cell could not carry out.
// Numbered by hand, only ever appended to.
type Level uint8

const (
	// LevelFirst is that of every node that has not said otherwise.
	LevelFirst Level = 1
	// LevelTuned has policies with a configuration, and the budgets of policies among the settings.
	LevelTuned Level = 2
	// LevelProven has replicas and nodes that must prove what they hold, nodes that have no room, and nodes that are
	// removed by force.
	LevelProven Level = 3
	// LevelNamed has commands that say who asked for them, sessions that belong to somebody, quiet windows, kinds that
	// run one at a time, quotas, and moves whose target is kept.
	LevelNamed Level = 4
	// LevelPaced has a pace of copies among the settings.
	LevelPaced Level = 5
	// LevelPunched has ranges of extents that are deleted.
	LevelPunched Level = 6
	// LevelBegun has operations that start in the entry that admits them.
	LevelBegun Level = 7
	// LevelDisks has nodes that say which of their disks has most room, and which are not ok.
	LevelDisks Level = 8
	// LevelWaits has how long operations wait at most among the settings.
	LevelWaits Level = 9
	// LevelMembers has joins and votes that say who asked for them.
	LevelMembers Level = 10
	// LevelPaused has nodes that are paused.
	LevelPaused Level = 11
	// LevelBalance has whether disks are balanced among the settings.
	LevelBalance Level = 12
	// LevelKept has deletes with grace, and undeletes.
	LevelKept Level = 13
	// LevelRewritten has operations that rewrite replicas of which much is deleted. Their files are none that an older
	// build reads.
	LevelRewritten Level = 14
	// LevelNow is this build's.
	LevelNow = LevelRewritten
)

// levelOf is the lowest level at which c is carried out as this build does.
func levelOf(c Command) Level { return max(levelOfAsker(c), levelOfContent(c)) }

// levelOfAsker is that of who a command says asked for it.
func levelOfAsker(c Command) Level {
	if AskedBy(c) == "" {
		return LevelFirst
	}
	switch c.(type) {
	case *Join, *SetVoter:
		return LevelMembers
	}
	return LevelNamed
}

// levelOfContent is that of all else that a command says.
func levelOfContent(c Command) Level {
	switch c := c.(type) {
	case *Admit:
		return levelOfAdmit(c)
	case *Set:
		return levelOfSetting(c.Key)
	case *Undelete, *EndGrace:
		return LevelKept
	case *Pause:
		return LevelPaused
	case *Punch:
		return LevelPunched
	case *Reorder:
		return LevelNamed
	case *LoadPolicy:
		return having(len(c.Config) > 0, LevelTuned)
	case *NodeRoom:
		return max(LevelProven, having(c.Largest > 0 || len(c.Disks) > 0, LevelDisks))
	case *Proven, *Recovered:
		return LevelProven
	case *Suspect:
		return having(c.Always, LevelProven)
	case *Finish:
		return having(c.Damaged, LevelProven)
	case *Join:
		return having(c.Seen != 0 || c.Unproven, LevelProven)
	case *SetNodeState:
		return having(c.Seen != 0, LevelProven)
	case *RemoveNode:
		return having(c.Incarnation != 0 || c.Forced, LevelProven)
	}
	return LevelFirst
}

// having is the level of a command that has something which is of that level, or not.
func having(has bool, level Level) Level {
	if has {
		return level
	}
	return LevelFirst
}

func levelOfAdmit(c *Admit) Level {
	switch {
	case c.Kind == policies.KindPunch:
		return LevelRewritten
	case c.GraceMicros != 0:
		return LevelKept
	case c.Start:
		return LevelBegun
	}
	return having(c.Urgent || c.Named || c.Request.Sum != 0 || c.Owner != "", LevelNamed)
}

func levelOfSetting(key string) Level {
	switch key {
	case keyDiskReserve, keyMinReplicas, keyScrubPace, keyScrubPause:
		return LevelProven
	case KeyQuietWindows, keySerial, KeyQuotas:
		return LevelNamed
	case keyCopyPace:
		return LevelPaced
	case keyMaxWait:
		return LevelWaits
	case KeyBalance:
		return LevelBalance
	case KeyDeleteGrace:
		return LevelKept
	}
	return having(slices.ContainsFunc(budgetTable(), func(t setting) bool { return t.key == key }), LevelTuned)
}

// LevelOf is the lowest level at which all of commands are carried out as this build does.
func LevelOf(commands []Command) Level {
	most := LevelFirst
	for _, c := range commands {
		most = max(most, levelOf(c))
	}
	return most
}

// Lowest is a node of the lowest level in the cell, and that level; "" and LevelNow when none has said its own.
// Nodes that were never up do not count: they are asked for their level when they come.
func (v *View) Lowest() (id NodeID, lowest Level) { return v.LowestWithout(nil) }

// LowestWithout is Lowest of the nodes that commands do not remove: what is removed carries nothing out.
func (v *View) LowestWithout(commands []Command) (id NodeID, lowest Level) {
	removed := func(id NodeID) bool {
		return slices.ContainsFunc(commands, func(c Command) bool {
			r, ok := c.(*RemoveNode)
			return ok && r.Node == id
		})
	}
	lowest = LevelNow
	v.Nodes(func(n *Node) bool {
		if n.Incarnation != 0 && !removed(n.ID) && (id == "" || n.level() < lowest) {
			id, lowest = n.ID, n.level()
		}
		return true
	})
	return id, lowest
}

// Welcomes refuses a node of a level that is below what the log holds already.
func (v *View) Welcomes(id NodeID, level Level) *wire.Error {
	if level = max(level, LevelFirst); level < v.Level {
		return refuse(wire.CodePrecondition, "the build of node %s carries out commands up to level %d, "+
			"and the cell has some of level %d; run a newer build on it", id, level, v.Level)
	}
	return nil
}

func (n *Node) level() Level { return max(n.Level, LevelFirst) }

// AllReach reports whether every node of the cell carries out commands of that level.
func (v *View) AllReach(level Level) bool {
	_, lowest := v.Lowest()
	return lowest >= level
}

// Named is who, where every node of the cell understands entries that say so; nobody elsewhere.
func (v *View) Named(who Identity) Identity { return v.namedAt(LevelNamed, who) }

// NamedMember is Named for what says who is part of the cell. Nodes join with each start, so a name in that would shut
// out older builds at once; it is said when the log has something else of its level, or a newer one, already.
func (v *View) NamedMember(who Identity) Identity {
	if v.Level < LevelMembers {
		return ""
	}
	return v.namedAt(LevelMembers, who)
}

func (v *View) namedAt(level Level, who Identity) Identity {
	if who == "" || !v.AllReach(level) {
		return ""
	}
	return who
}
