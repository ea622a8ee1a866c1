package client

import (
	"context"
	"sync"

	"github.com/datanode/datanode/wire"
)

// Session numbers what is submitted in one session of the cell, which carries out each number once, however often it
// is asked for. The zero value has no session open. Its methods may be called from any goroutine. Clients have one, and
// so has each node for what it submits itself.
type Session struct {
	mu   sync.Mutex
	id   uint64 // guarded by mu; 0: not open
	last uint64 // guarded by mu; the newest number given out
}

// Number gives out the next n numbers of the session, the first of which it returns. open opens a session if there is
// none; others wait meanwhile. A number stays with its session: in another one it would be somebody else's.
func (s *Session) Number(
	ctx context.Context, n int, open func(context.Context) (wire.SessionReply, error),
) (session, first uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == 0 {
		reply, err := open(ctx)
		if err != nil {
			return 0, 0, err
		}
		if reply.Session == 0 { // none: what is submitted in it would be done twice
			return 0, 0, wire.Errorf(wire.OpSession, wire.CodeProtocol, "the answer names no session")
		}
		s.id, s.last = reply.Session, 0
	}
	first = s.last + 1
	s.last += uint64(n)
	return s.id, first, nil
}

// Forget makes the next number one of another session, unless that is so already.
func (s *Session) Forget(session uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == session {
		s.id = 0
	}
}

// LosesSession reports whether an answer with this code ends a session for whoever submits in it: the cell has
// forgotten it after a day without use (CodeSession), it belongs to another identity than the asker now has
// (CodeDenied), or the answer was to something else, so that nobody knows what the session's numbers stand for
// (CodeProtocol).
func LosesSession(code wire.Code) bool {
	return code == wire.CodeSession || code == wire.CodeDenied || code == wire.CodeProtocol
}
