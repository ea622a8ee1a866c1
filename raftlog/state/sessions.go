package state

import (
	"strings"
	"time"
)

// How many sessions there are. Nobody loses one to another who has more: where there are too many, whoever has most
// gives up the one that was used longest ago. Nodes give theirs up last, since whoever has a node's certificate could
// do worse.
const (
	maxSessions     = 10_000
	maxSessionsEach = 2_000 // of one identity; of those that belong to nobody there may be maxSessions
	sessionLife     = 24 * time.Hour
)

// lastUse orders the sessions by when they were last used: the first is the next to go.
type lastUse struct {
	micros  Micros
	session SessionID
}

func lessLastUse(a, b lastUse) bool {
	if a.micros != b.micros {
		return a.micros < b.micros
	}
	return a.session < b.session
}

// ownUse is lastUse among the sessions of one identity.
type ownUse struct {
	owner Identity
	use   lastUse
}

func lessOwnUse(a, b ownUse) bool {
	if a.owner != b.owner {
		return a.owner < b.owner
	}
	return lessLastUse(a.use, b.use)
}

func (ses *Session) lastUse() lastUse { return lastUse{ses.UsedMicros, ses.ID} }

func (s *State) putSession(ses *Session) {
	if old, ok := s.sessions.Set(ses.ID, ses); ok {
		s.unindexUse(old)
	} else {
		count, _ := s.owners.Get(ses.Owner)
		s.owners.Set(ses.Owner, count+1)
	}
	s.idle.Set(ses.lastUse())
	s.owned.Set(ownUse{ses.Owner, ses.lastUse()})
}

func (s *State) unindexUse(old *Session) {
	s.idle.Delete(old.lastUse())
	s.owned.Delete(ownUse{old.Owner, old.lastUse()})
}

func (s *State) dropSession(id SessionID) {
	old, ok := s.sessions.Delete(id)
	if !ok {
		return
	}
	s.unindexUse(old)
	if count, _ := s.owners.Get(old.Owner); count > 1 {
		s.owners.Set(old.Owner, count-1)
	} else {
		s.owners.Delete(old.Owner)
	}
}

func (s *State) openSession(at moment, c *OpenSession) Result {
	s.expireSessions(c.AskedBy)
	id := SessionID(at.op())
	s.putSession(&Session{ID: id, Client: clip(c.Client), UsedMicros: at.now, Owner: c.AskedBy})
	return Result{Session: id}
}

// expireSessions drops the idle ones, and makes room for one more of owner.
func (s *State) expireSessions(owner Identity) {
	for {
		first, ok := s.idle.Min()
		if !ok || s.NowMicros-first.micros <= micros(sessionLife) {
			break
		}
		s.dropSession(first.session)
	}
	if count, _ := s.owners.Get(owner); owner != "" && count >= maxSessionsEach {
		s.dropSession(s.longestUnused(owner))
	}
	for s.sessions.Len() >= maxSessions {
		s.dropSession(s.longestUnused(s.hasMost()))
	}
}

func (s *State) longestUnused(owner Identity) (id SessionID) {
	s.owned.Ascend(ownUse{owner: owner}, func(first ownUse) bool {
		id = first.use.session
		return false
	})
	return id
}

// hasMost is who has most sessions, of equals the first by name; a node only if there are no others.
func (s *State) hasMost() (owner Identity) {
	most, node := 0, true
	s.owners.Scan(func(who Identity, count int) bool {
		isNode := strings.HasPrefix(string(who), "node/")
		if node && !isNode || node == isNode && count > most {
			owner, most, node = who, count, isNode
		}
		return true
	})
	return owner
}
