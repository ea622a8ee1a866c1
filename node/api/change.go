package api

import (
	"context"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeCancel cancels an operation, and answers with what is known of it then.
func (a *API) ServeCancel(ctx context.Context, c *mux.ServerCall, req wire.CancelRequest) error {
	id, err := parseOp(req.Op)
	if err != nil {
		return err
	}
	who := a.asker(c)
	cancel := &state.Cancel{Op: id, Note: "cancelled by " + describe.Person(who), AskedBy: who}
	if err := a.propose(ctx, cancel); err != nil {
		return err
	}
	return a.replyOp(ctx, c, id)
}

// ServeReorder has a queued operation start before another, or first.
func (a *API) ServeReorder(ctx context.Context, c *mux.ServerCall, req wire.ReorderRequest) error {
	id, err := parseOp(req.Op)
	if err != nil {
		return err
	}
	cmd := &state.Reorder{Op: id, AskedBy: a.asker(c)}
	if req.Before != "" {
		if cmd.Before, err = parseOp(req.Before); err != nil {
			return err
		}
	}
	if err := a.propose(ctx, cmd); err != nil {
		return err
	}
	return a.replyOp(ctx, c, id)
}

// ServeUndelete brings back an extent that was deleted with grace, and answers with what it is then.
func (a *API) ServeUndelete(ctx context.Context, c *mux.ServerCall, req wire.UndeleteRequest) error {
	cmd := &state.Undelete{Extent: state.ExtentID(req.Extent), Birth: req.Birth, AskedBy: a.asker(c)}
	if err := a.propose(ctx, cmd); err != nil {
		return err
	}
	e, err := a.o.FreshExtent(ctx, cmd.Extent)
	if err != nil {
		return err
	}
	reply := describe.Extent(a.o.Log.View(), e)
	return c.Reply(&reply, nil)
}

// ServeSetting changes a setting.
func (a *API) ServeSetting(ctx context.Context, c *mux.ServerCall, req wire.SettingRequest) error {
	if err := a.o.Lead.CheckSetting(ctx, req.Key, req.Value); err != nil {
		return err
	}
	if err := a.propose(ctx, &state.Set{Key: req.Key, Value: req.Value, AskedBy: a.asker(c)}); err != nil {
		return err
	}
	if req.Key == state.KeyQuotas {
		a.o.Lead.HearAll(ctx, a.o.Log.CommitIndex()) // a node that has not applied a quota yet would store beyond it
	}
	return c.Reply(nil, nil)
}

// ServeSettings lists the settings.
func (a *API) ServeSettings(ctx context.Context, c *mux.ServerCall) error {
	var reply wire.SettingsReply
	a.o.Log.View().Settings.Each(func(key, value, help string) {
		reply.Settings = append(reply.Settings, wire.Setting{Key: key, Value: value, Help: help})
	})
	return c.Reply(&reply, nil)
}
