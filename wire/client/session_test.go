package client

import (
	"context"
	"testing"

	"github.com/datanode/datanode/wire"
)

// opensNumber opens the session id.
func opensNumber(id uint64) func(context.Context) (wire.SessionReply, error) {
	return func(context.Context) (wire.SessionReply, error) { return wire.SessionReply{Session: id}, nil }
}

// Submissions that are under way while their session is forgotten keep their numbers in it: in the next session they
// would be those of others.
func TestNumbersStayInTheirSession(t *testing.T) {
	ctx := t.Context()
	var s Session
	opened := uint64(0)
	open := func(context.Context) (wire.SessionReply, error) {
		opened++
		return wire.SessionReply{Session: 70 + opened}, nil
	}
	want := func(n int, session, first uint64) {
		t.Helper()
		if id, seq, err := s.Number(ctx, n, open); err != nil || id != session || seq != first {
			t.Fatalf("number %d of session %d, %v; want %d of %d", seq, id, err, first, session)
		}
	}
	want(1, 71, 1)
	want(3, 71, 2)
	want(1, 71, 5)
	s.Forget(71)
	want(1, 72, 1)
	s.Forget(71) // it comes late: the session is forgotten already
	want(1, 72, 2)
	s.Forget(0) // of a dry run, which has no number
	want(1, 72, 3)
}

// No number is given out in a session that could not be opened, or that is none.
func TestNoSessionNoNumber(t *testing.T) {
	var s Session
	if _, _, err := s.Number(t.Context(), 1, opensNumber(0)); wire.CodeOf(err) != wire.CodeProtocol {
		t.Errorf("an answer without a session: %v", err)
	}
	refused := wire.Errorf(wire.OpSession, wire.CodeUnavailable, "no leader")
	failing := func(context.Context) (wire.SessionReply, error) { return wire.SessionReply{Session: 5}, refused }
	if id, _, err := s.Number(t.Context(), 1, failing); err != error(refused) || id != 0 {
		t.Errorf("session %d, %v", id, err)
	}
	if id, first, err := s.Number(t.Context(), 1, opensNumber(6)); id != 6 || first != 1 || err != nil {
		t.Errorf("number %d of session %d, %v", first, id, err)
	}
}
