package api

import (
	"context"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServePunch deletes ranges of extents, on the leader. When it has answered, no node that has applied the entry gives a
// byte of them any more. A range of an open extent, whose length the log does not know, is looked for on a replica
// first: what is to be stored there yet must not be deleted before it is.
func (a *API) ServePunch(ctx context.Context, c *mux.ServerCall, req wire.PunchRequest) error {
	if len(req.Ranges) > wire.MaxPunches {
		return wire.Errorf(c.Op(), wire.CodeInvalid, "%d ranges at once; at most %d", len(req.Ranges), wire.MaxPunches)
	}
	if err := a.o.Lead.Confirm(ctx); err != nil { // what is refused is refused by what the cell has agreed on
		return err
	}
	view := a.o.Log.View()
	cmd := &state.Punch{AskedBy: a.asker(c), Ranges: make([]state.Range, len(req.Ranges))}
	for i, r := range req.Ranges {
		cmd.Ranges[i] = state.Range{Extent: state.ExtentID(r.Extent), Offset: r.Offset, Length: r.Length, Birth: r.Birth}
	}
	if req.Session != 0 {
		cmd.Request = state.Request{Session: state.SessionID(req.Session), Seq: req.Seq, Sum: cmd.Sum()}
	}
	if res, ok := view.PunchAnswered(cmd); ok && !req.DryRun {
		a.o.Lead.NoteAnswered(res)
		return a.replyPunch(c, 0, res, nil)
	}
	refused, places := a.sortOut(ctx, view, cmd)
	if req.DryRun || len(cmd.Ranges) == 0 {
		return a.replyPunch(c, 0, state.Result{Refused: refused}, nil)
	}
	res, index, err := a.o.Lead.Punch(ctx, a.o.Sharer(c), cmd)
	if err != nil {
		return err
	}
	for i := range res.Refused {
		res.Refused[i].At = places[res.Refused[i].At]
	}
	return a.replyPunch(c, index, res, refused)
}

// sortOut takes the ranges out of a punch that cannot be deleted. places are where those that are left were.
func (a *API) sortOut(ctx context.Context, view *state.View, cmd *state.Punch) (no []state.PunchRefusal, places []int) {
	left := cmd.Ranges[:0:0]
	for i, r := range cmd.Ranges {
		err := view.CheckPunch(r)
		if e := view.Extent(r.Extent); err == nil && e.State == state.ExtentOpen {
			err = a.o.Stored(ctx, e, r.Offset+r.Length)
		}
		if err != nil {
			no = append(no, state.PunchRefusal{At: i, Err: err})
			continue
		}
		left, places = append(left, r), append(places, i)
	}
	cmd.Ranges = left
	return no, places
}

func (a *API) replyPunch(c *mux.ServerCall, index state.Index, res state.Result, more []state.PunchRefusal) error {
	if res.Err != nil {
		return res.Err
	}
	reply := wire.PunchReply{Index: uint64(index)}
	for _, no := range append(more, res.Refused...) {
		reply.Refused = append(reply.Refused, wire.PunchRefused{
			At: uint32(no.At), Code: no.Err.Code, Detail: no.Err.Detail,
		})
	}
	return c.Reply(&reply, nil)
}
