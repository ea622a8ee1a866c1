package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// announced puts sent bytes after a request that speaks of length.
type announced struct {
	length int64
	sent   int
	extent state.ExtentID
}

func (a announced) put(t *testing.T, conn *mux.Conn) (wire.Locator, error) {
	t.Helper()
	op := wire.OpPut
	if a.extent != 0 {
		op = wire.OpAppend
	}
	s, err := conn.Open(testContext(t), mux.Request{Op: op, Session: wire.SessionClient,
		Body: &wire.PutRequest{Length: a.length, Extent: uint64(a.extent)}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Send(pattern(1, a.sent)) == nil { // an error is the answer's, too
		_ = s.CloseSend()
	}
	answer, err := s.Reply()
	if err != nil {
		return wire.Locator{}, err
	}
	var loc wire.Locator
	return loc, answer.Decode(&loc)
}

// A put of another length than it announced is refused and leaves nothing behind: neither
// an extent nor bytes in one.
func TestPutOfAnotherLength(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	conn := c.raw("n1")
	const large = 2*appendPiece + 1000
	for _, a := range []announced{
		{length: 5, sent: 3},
		{length: 1, sent: 0},
		{length: 2, sent: 3},
		{length: 0, sent: 1},
		{length: appendPiece + 1, sent: appendPiece},
		{length: appendPiece, sent: appendPiece + 1},
		{length: 1, sent: large},
		{length: large, sent: large - 1},
		{length: large, sent: large + 1},
		{length: 1 << 62, sent: large},
	} {
		loc, err := a.put(t, conn)
		if !invalidNotDone(err) || !strings.Contains(fmt.Sprint(err), "announced") {
			t.Fatalf("%d bytes after an announcement of %d: %v, %v (%s); want an invalid put that was not done",
				a.sent, a.length, loc, err, wire.OutcomeOf(err))
		}
		c.until("no extent is left", func(n *Node) bool { return n.log.View().Counts().Extents == 0 })
	}
	for _, a := range []announced{
		{length: 0}, {length: 3, sent: 3}, {length: -1, sent: 3}, {length: large, sent: large}, {length: -1, sent: large},
	} {
		if loc, err := a.put(t, conn); err != nil || loc.Length != uint64(a.sent) {
			t.Errorf("%d bytes after an announcement of %d: %v, %v", a.sent, a.length, loc, err)
		}
	}
}

func invalidNotDone(err error) bool {
	return wire.CodeOf(err) == wire.CodeInvalid && wire.OutcomeOf(err) == wire.NotDone
}

// The same holds of an append to a named extent, but for the pieces that are in it already: the answer names those.
func TestAppendOfAnotherLength(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	conn, n := c.raw("n1"), c.nodes["n1"]
	id := state.ExtentID(c.run(wire.Submission{Kind: "create"})[0].Extent)
	holds := func() uint64 {
		info, err := n.store.Stat(extent.ID(id))
		if err != nil {
			t.Fatal(err)
		}
		return info.Length
	}
	for _, a := range []announced{{length: 5, sent: 3, extent: id}, {length: 2, sent: 3, extent: id}} {
		if loc, err := a.put(t, conn); !invalidNotDone(err) || holds() != 0 {
			t.Errorf("%v, %v (%s), the extent holds %d bytes; want an invalid append that was not done",
				loc, err, wire.OutcomeOf(err), holds())
		}
	}
	_, err := announced{length: 3 * appendPiece, sent: 2*appendPiece + 1, extent: id}.put(t, conn)
	if wire.CodeOf(err) != wire.CodeInvalid || wire.OutcomeOf(err) != wire.Unknown {
		t.Errorf("%v (%s), want an invalid append with an unknown outcome", err, wire.OutcomeOf(err))
	}
	oneLine(t, err, fmt.Sprintf("extent %d holds the first %d bytes, from 0 on", id, holds()))
	loc, err := announced{length: 7, sent: 7, extent: id}.put(t, conn)
	if err != nil || loc.Offset != holds()-7 || loc.Length != 7 {
		t.Errorf("append of 7 bytes: %v, %v; want them behind the others", loc, err)
	}
}
