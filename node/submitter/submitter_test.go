package submitter

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// leads is a submitter of a node that leads. Each submission gets the next of the answers; opened sessions are
// 1, 2, …
func leads(t *testing.T, answers ...func(s *lead.Submission) (wire.Submitted, error)) (
	s *Submitter, asked *[]state.Request,
) {
	var seen []state.Request
	sessions := uint64(0)
	s = New(Options{
		Node: "n1", Identity: "node/n1", Sharer: "node/n1", IsLeader: func() bool { return true },
		Submit: func(_ context.Context, subs []*lead.Submission) ([]wire.Submitted, error) {
			if len(seen) == len(answers) {
				t.Fatalf("asked %d times", len(seen)+1)
			}
			if who := subs[0].Asker; who != "node/n1" {
				t.Errorf("submitted for %q", who)
			}
			seen = append(seen, state.Request{Session: subs[0].Session, Seq: subs[0].Seq})
			got, err := answers[len(seen)-1](subs[0])
			return []wire.Submitted{got}, err
		},
		OpenSession: func(context.Context, string, state.Identity) (uint64, error) {
			sessions++
			return sessions, nil
		},
		CutOff: func() error { return nil }, Clock: clock.Of(mux.Clock{}), Logger: slog.New(slog.DiscardHandler),
	})
	return s, &seen
}

func done(s *lead.Submission) (wire.Submitted, error) {
	return wire.Submitted{Kind: s.Kind, Extent: s.Extent, Op: "4711"}, nil
}

func fails(code wire.Code, outcome wire.Outcome) func(*lead.Submission) (wire.Submitted, error) {
	return func(*lead.Submission) (wire.Submitted, error) {
		return wire.Submitted{}, &wire.Error{Op: wire.OpSubmit, Code: code, Outcome: outcome, Detail: "not now"}
	}
}

func TestSubmit(t *testing.T) {
	type answer = func(*lead.Submission) (wire.Submitted, error)
	for _, c := range []struct {
		what    string
		answers []answer
		asked   []state.Request
		code    wire.Code
	}{
		{"a leader that changes: the same number, so that it is carried out once",
			[]answer{fails(wire.CodeUnavailable, wire.Unknown), fails(wire.CodeUnavailable, wire.NotDone), done},
			[]state.Request{{Session: 1, Seq: 1}, {Session: 1, Seq: 1}, {Session: 1, Seq: 1}}, 0},
		{"a session that was forgotten: another one, since nothing was done in it",
			[]answer{fails(wire.CodeSession, wire.NotDone), done},
			[]state.Request{{Session: 1, Seq: 1}, {Session: 2, Seq: 1}}, 0},
		{"one that was forgotten after a doubt: it may have been done",
			[]answer{fails(wire.CodeUnavailable, wire.Unknown), fails(wire.CodeSession, wire.NotDone)},
			[]state.Request{{Session: 1, Seq: 1}, {Session: 1, Seq: 1}}, wire.CodeSession},
		{"numbers that somebody else has used up: another session, once",
			[]answer{fails(wire.CodeDenied, wire.NotDone), fails(wire.CodeDenied, wire.NotDone)},
			[]state.Request{{Session: 1, Seq: 1}, {Session: 2, Seq: 1}}, wire.CodeDenied},
		{"a refusal: for whoever asked",
			[]answer{fails(wire.CodeQuota, wire.NotDone)}, []state.Request{{Session: 1, Seq: 1}}, wire.CodeQuota},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, asked := leads(t, c.answers...)
			got, err := s.Submit(t.Context(), wire.Submission{Kind: "seal", Extent: 7})
			if wire.CodeOf(err) != c.code || err == nil && got.Op != "4711" {
				t.Errorf("%s: %+v, %v", c.what, got, err)
			}
			if len(*asked) != len(c.asked) {
				t.Fatalf("%s: asked as %v, want %v", c.what, *asked, c.asked)
			}
			for i, want := range c.asked {
				if (*asked)[i] != want {
					t.Errorf("%s: asked as %v, want %v", c.what, *asked, c.asked)
				}
			}
		})
	}
}

// Time that is up while the leader is asked once more does not hide why it was not done before.
func TestTimeIsUpWhileAsking(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := leads(t, fails(wire.CodeUnavailable, wire.NotDone), func(*lead.Submission) (wire.Submitted, error) {
		cancel()
		return fails(wire.CodeDeadline, wire.Unknown)(nil)
	})
	_, err := s.Submit(ctx, wire.Submission{Kind: "create"})
	if wire.CodeOf(err) != wire.CodeDeadline || wire.OutcomeOf(err) != wire.Unknown ||
		!strings.Contains(err.Error(), "before that: ") {
		t.Errorf("got %v", err)
	}
}

// An answer to another submission is none, and is counted.
func TestWrongAnswer(t *testing.T) {
	s, _ := leads(t, func(s *lead.Submission) (wire.Submitted, error) {
		return wire.Submitted{Kind: s.Kind, Extent: s.Extent + 1, Op: "4711"}, nil
	})
	_, err := s.Once(t.Context(), 0, wire.Submission{Kind: "delete", Extent: 7})
	if err == nil || s.WrongAnswers() != 1 {
		t.Errorf("%v, counted %d", err, s.WrongAnswers())
	}
}
