package node

import (
	"context"
	"runtime"
	"slices"
	"testing"

	"github.com/datanode/datanode/node/api"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Each costly call waits for a turn of its caller's own, by whichever node it comes: what bob asks for does not keep
// alice waiting.
func TestCostlyCallsTakeTurns(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 1, 0, func(*Config) {})
	n := c.nodes["n1"]
	extent := c.sealed(pattern(1, appendPiece+10)).Extent
	op := c.run(wire.Submission{Kind: "create"})[0].ID
	for _, tn := range n.turns { // bob keeps his places for as long as others are asked
		tn.NoRests()
	}
	bob := c.rawAs(o.Source(pki.RoleClient, "bob"), mux.Config{})
	alice := c.rawAs(o.Source(pki.RoleClient, "alice"), mux.Config{})
	for _, costly := range []struct {
		work fair.Work
		op   wire.OpType
		body any
	}{
		{fair.WorkLists, wire.OpOps, &wire.OpsRequest{}},
		{fair.WorkLists, wire.OpExtents, &wire.ExtentsRequest{}},
		{fair.WorkLists, wire.OpInventory, nil},
		{fair.WorkLists, wire.OpConns, nil},
		{fair.WorkLists, wire.OpWait, &wire.WaitRequest{Ops: slices.Repeat([]string{op}, api.FewOps+1)}},
		{fair.WorkLists, wire.OpLogList, &wire.LogRequest{}},
		{fair.WorkLists, wire.OpLogChain, &wire.LogChainRequest{}},
		{fair.WorkLog, wire.OpLogVerify, &wire.LogVerifyRequest{}},
		{fair.WorkVerify, wire.OpVerify, &wire.VerifyRequest{Extent: extent}},
		{fair.WorkSessions, wire.OpSession, &wire.SessionRequest{}},
		{fair.WorkTrials, wire.OpSubmit, &wire.SubmitRequest{DryRun: true}},
	} {
		req := mux.Request{Op: costly.op, Session: wire.SessionControl, Body: costly.body}
		release := fillTurns(t, n.turns[costly.work], "client/bob")
		if _, err := bob.Call(testContext(t), req); wire.CodeOf(err) != wire.CodeExhausted {
			t.Errorf("%s of bob, of whom as many wait as may: %v", costly.op, err)
		}
		if n.turns[costly.work].AtOnce() > 1 {
			if _, err := alice.Call(testContext(t), req); err != nil {
				t.Errorf("%s of alice meanwhile: %v", costly.op, err)
			}
		}
		release()
		if _, err := bob.Call(testContext(t), req); err != nil {
			t.Errorf("%s of bob afterwards: %v", costly.op, err)
		}
	}
	// All who wait for an operation of their own look at each change of the log.
	full := fillTurns(t, n.turns[fair.WorkLists], "client/bob")
	call[wire.OpsReply](t, bob, wire.OpWait, &wire.WaitRequest{Ops: slices.Repeat([]string{op}, api.FewOps)})
	full()
	release := fillTurns(t, n.turns[fair.WorkSums], "client/bob")
	defer release()
	verify := &wire.VerifyRequest{Extent: extent}
	if reply := call[wire.VerifyReply](t, bob, wire.OpVerify, verify); !reply.Replicas[0].Unchecked {
		t.Errorf("of bob's, as many replicas as may wait to be read, and one more is: %+v", reply)
	}
	if reply := call[wire.VerifyReply](t, alice, wire.OpVerify, verify); !reply.Replicas[0].OK {
		t.Errorf("alice's verify meanwhile: %+v", reply)
	}
}

// fillTurns has as many of a sharer's calls run and wait as may, until release.
func fillTurns(t *testing.T, tn *fair.Turns, sharer string) (release func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan struct{})
	most := max(1, tn.AtOnce()-1) + fair.MaxTurnsWaitingEach
	until := func(want int) {
		for running, waiting, _ := tn.Tally(); running+waiting != want; running, waiting, _ = tn.Tally() {
			runtime.Gosched()
			if ctx.Err() != nil {
				t.Fatalf("%d run and %d wait, want %d", running, waiting, want)
			}
		}
	}
	until(0) // a call that was answered a moment ago may still have its place
	for range most {
		go func() {
			if done, err := tn.Take(ctx, sharer); err == nil {
				<-ctx.Done()
				done()
			}
			ended <- struct{}{}
		}()
	}
	until(most)
	return func() {
		cancel()
		for range most {
			<-ended
		}
	}
}
