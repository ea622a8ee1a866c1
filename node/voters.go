package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// hearPatience is how long a voter has to say that it is there. It leaves a status time to be answered within three
// seconds.
const hearPatience = time.Second

// voterCheck says which voters are there.
type voterCheck struct {
	id        state.NodeID
	log       *raftlog.Group
	transport *transport.Transport
	beat      func() *wire.Heartbeat // what a voter is asked with
	logger    *slog.Logger
}

// list is the nodes that have a vote, and whether they are there. With a leader the cell knows; without one, this
// node asks each of them, at once.
func (r *voterCheck) list(ctx context.Context, view *state.View, led bool) []wire.Voter {
	servers, err := r.log.Servers()
	if err != nil {
		r.logger.Debug("members of the group not known", "error", err)
		return nil
	}
	var voters []wire.Voter
	for _, s := range servers {
		if s.Voter {
			voters = append(voters, wire.Voter{Node: string(s.ID), Addr: s.Addr})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, hearPatience)
	defer cancel()
	var wg sync.WaitGroup
	for i := range voters {
		v := &voters[i]
		switch node := view.Node(state.NodeID(v.Node)); {
		case v.Node == string(r.id):
			v.Answers = true
		case led:
			v.Answers = node != nil && node.State == state.NodeUp
		default:
			wg.Add(1)
			go func() {
				defer wg.Done()
				v.Answers = r.answers(ctx, v.Node, v.Addr)
			}()
		}
	}
	wg.Wait()
	return voters
}

// answers reports whether a node answers. That it does not lead is an answer, too.
func (r *voterCheck) answers(ctx context.Context, node, addr string) bool {
	conn, err := r.transport.Conn(ctx, node, addr)
	if err != nil {
		return false
	}
	body := r.beat()
	_, err = conn.Call(ctx, mux.Request{Op: wire.OpHeartbeat, Session: wire.OpHeartbeat.SessionFor(body), Body: body})
	switch wire.CodeOf(err) {
	case wire.CodeConnection, wire.CodeDeadline, wire.CodeCancelled:
		return false
	}
	return ctx.Err() == nil
}
