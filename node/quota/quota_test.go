package quota

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
)

const mebi = 1 << 20

// member is a node of a cell in which the class logs may have 64 MiB. The leader's answers are what a test says.
type member struct {
	*Quotas
	cell    *statetest.Cell
	asked   int
	answers []wire.Unsealed // what the other nodes have reported
	silent  bool            // there is no leader
}

func newMember(t *testing.T) *member {
	m := &member{cell: statetest.New()}
	if said := m.cell.RunAll("genesis c1\njoin n1\nset quotas class=logs bytes=64Mi"); m.quota() == nil {
		t.Fatalf("there is no quota: %s", said)
	}
	m.Quotas = New(Options{
		View: m.view, IsLeader: func() bool { return false }, Logger: slog.New(slog.DiscardHandler),
		CatchUp: func(context.Context) error {
			m.asked++
			if m.silent {
				return errors.New("no leader")
			}
			_, number := m.Report()
			m.Learned(number, m.answers)
			return nil
		},
	})
	return m
}

func (m *member) view() *state.View { return &m.cell.State.View }

func (m *member) quota() *state.Quota {
	if quotas := m.view().Settings.Quotas; len(quotas) == 1 {
		return &quotas[0]
	}
	return nil
}

func (m *member) reserve(t *testing.T, bytes int64) (*Reservation, error) {
	t.Helper()
	return m.Reserve(t.Context(), wire.OpPut, Tenant{Class: "logs"}, bytes)
}

func (m *member) want(t *testing.T, what string, bytes uint64) {
	t.Helper()
	if got := m.UnsealedBytes(m.view(), m.quota()); got != bytes {
		t.Errorf("%s: %d bytes are counted, want %d", what, got, bytes)
	}
}

// Bytes count from when they are reserved until their extent is sealed or dropped, and once at each moment.
func TestBytesCountOnce(t *testing.T) {
	m := newMember(t)
	r, err := m.reserve(t, 3*mebi)
	if err != nil {
		t.Fatal(err)
	}
	m.want(t, "reserved", 3*mebi)
	said := m.cell.RunAll("create on=n1 class=logs")
	extent := m.view().Extent(1)
	if extent == nil {
		t.Fatal(said)
	}
	meter := m.Open(extent)
	r.Stored(meter, 2*mebi, 2*mebi)
	m.want(t, "most of it stored", 3*mebi)
	reported, _ := m.Report()
	if len(reported) != 2 || reported[0].Bytes+reported[1].Bytes != 3*mebi {
		t.Errorf("reported %+v, want what is stored and what is not", reported)
	}
	r.End()
	m.want(t, "the rest given back", 2*mebi)
	(*Reservation)(nil).Stored(meter, 3*mebi, mebi)
	m.want(t, "bytes that moved here", 3*mebi)
	m.Prune()
	m.want(t, "its extent is not sealed yet", 3*mebi)
	m.Drop(extent.ID)
	m.want(t, "its extent is given up", 0)
}

// What does not fit is refused, and leaves nothing behind, be its length announced or not.
func TestReservationsAreBounded(t *testing.T) {
	m := newMember(t)
	m.answers = []wire.Unsealed{{Class: "logs", Bytes: 60 * mebi}, {Class: "other", Bytes: 60 * mebi}}
	if _, err := m.reserve(t, 5*mebi); wire.CodeOf(err) != wire.CodeQuota {
		t.Errorf("too much with what others have: %v", err)
	}
	m.want(t, "after a refusal", 60*mebi)
	r, err := m.reserve(t, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Cover(t.Context(), 4*mebi); err != nil {
		t.Errorf("what fits exactly: %v", err)
	}
	asked := m.asked
	if err := r.Cover(t.Context(), 4*mebi); err != nil || m.asked != asked {
		t.Errorf("what is reserved already: %v, the leader was asked %d times", err, m.asked-asked)
	}
	if err := r.Cover(t.Context(), 4*mebi+1); wire.CodeOf(err) != wire.CodeQuota {
		t.Errorf("a byte too many: %v", err)
	}
	if m.Refused() != 2 {
		t.Errorf("%d refusals are counted, want 2", m.Refused())
	}
	r.End()
	m.want(t, "after the end", 60*mebi)
}

// Little is granted without asking the leader, but not again and again. When it does not answer, a node goes on by what
// it knows.
func TestLittleIsGrantedUnasked(t *testing.T) {
	m := newMember(t)
	const little = 200 << 10
	for i := range 4 {
		if _, err := m.reserve(t, little); err != nil || m.asked != 0 {
			t.Fatalf("reservation %d: %v, the leader was asked %d times", i, err, m.asked)
		}
	}
	for range 3 {
		if _, err := m.reserve(t, little); err != nil {
			t.Fatal(err)
		}
	}
	if m.asked != 1 {
		t.Errorf("the leader was asked %d times for 1.4 MiB of 64, want once", m.asked)
	}
	m.silent = true
	if _, err := m.reserve(t, 8*mebi); err != nil || m.asked != 2 {
		t.Errorf("without a leader: %v, it was asked %d times", err, m.asked)
	}
}

// An answer that was on its way for long does not undo a newer one.
func TestOldAnswersAreIgnored(t *testing.T) {
	m := newMember(t)
	_, old := m.Report()
	_, young := m.Report()
	m.Learned(young, []wire.Unsealed{{Class: "logs", Bytes: 7}})
	m.Learned(old, []wire.Unsealed{{Class: "logs", Bytes: 9}})
	m.want(t, "the newer answer", 7)
}
