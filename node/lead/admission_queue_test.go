package lead

import (
	"fmt"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire"
)

// Submissions of one identity wait behind their own, those of the cell never behind them; what is given up is not
// carried out.
func TestAdmissionInTurn(t *testing.T) {
	a := newAdmission(env{}, nil, nil, nil)
	some := func(sharer string, n int) (subs []*Submission) {
		for i := range n {
			subs = append(subs, &Submission{Sharer: sharer, Submission: wire.Submission{Class: fmt.Sprint(sharer, i)}})
		}
		return subs
	}
	eve := some("client/eve", maxWaitingEach+1)
	leave := a.enter(eve)
	select {
	case got := <-eve[maxWaitingEach].done:
		if wire.CodeOf(got.err) != wire.CodeExhausted {
			t.Errorf("one more than may wait: %v", got.err)
		}
	default:
		t.Error("one more than may wait waits")
	}
	a.enter(some("client/bob", 2))
	a.enter(some("node/n1", 1))
	batch := a.batch()
	var got []string
	for _, s := range batch[:6] {
		got = append(got, s.Class)
	}
	want := "client/eve0 client/bob0 node/n10 client/eve1 client/bob1 client/eve2"
	if strings.Join(got, " ") != want || len(batch) != decideAtOnce {
		t.Errorf("a batch of %d begins with %q, want %d and %q", len(batch), got, decideAtOnce, want)
	}
	if leave() {
		t.Error("all have left, though some are being decided")
	}
	if rest := a.batch(); len(rest) != 0 {
		t.Errorf("%d that were given up are decided", len(rest))
	}
}
