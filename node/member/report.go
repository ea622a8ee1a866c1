package member

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// reportLimit bounds one attempt to report a hang to a node.
const reportLimit = time.Second

// compareReply compares the leader's history with this node's. Where they differ, or the leader says so, this node
// stops: it can neither follow nor be led.
func (m *Member) compareReply(beat *wire.Heartbeat, reply wire.HeartbeatReply, err error) error {
	if wire.CodeOf(err) == wire.CodeParted {
		return &RefusedError{err}
	}
	if err != nil {
		return err
	}
	m.o.Divergences.Learn(reply.Parted)
	theirs, ok := lead.ChainOf(beat.Applied, reply.Chain)
	if !ok || bytes.Equal(reply.Chain, beat.Chain) {
		return nil
	}
	ours, _ := lead.ChainOf(beat.Applied, beat.Chain)
	return &RefusedError{&raftlog.PartedError{
		Index: theirs.Index, Ours: ours, Theirs: theirs, With: "the leader " + reply.Leader,
	}}
}

// ReportDivergence reports to the leader that this node stops because of another history, if that is why, so that the
// cell can say why it is down.
func (m *Member) ReportDivergence(ctx context.Context, why error) {
	apart := (*raftlog.PartedError)(nil)
	if !errors.As(why, &apart) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.o.Heartbeat)
	defer cancel()
	beat := m.Beat()
	beat.Ready, beat.Parted = false, true
	if ours := apart.Ours; ours.Index > state.Index(beat.Applied) { // it has not applied again what it once had
		beat.Applied, beat.Chain = uint64(ours.Index), ours.Hash[:]
	}
	_, err := m.askLeader(ctx, beat)
	if err != nil && wire.CodeOf(err) != wire.CodeParted {
		m.o.Logger.Info("the leader could not be told that histories have parted", "error", err)
	}
}

// reportHang reports to whoever may lead that this node is not ready. Its own log, when it hangs, cannot say who leads.
func (m *Member) reportHang(ctx context.Context) {
	var wg sync.WaitGroup
	beat := m.Beat()
	for _, addr := range m.cellAddrs() {
		wg.Go(func() {
			limited, cancel := context.WithTimeout(ctx, reportLimit)
			defer cancel()
			conn, err := m.o.Network.Conn(limited, "", addr)
			if err == nil {
				_, err = ask[wire.HeartbeatReply](limited, conn, wire.OpHeartbeat, beat)
			}
			if err != nil { // most of them do not lead
				m.o.Logger.Debug("not told that the disk hangs", "addr", addr, "error", err)
			}
		})
	}
	wg.Wait()
}
