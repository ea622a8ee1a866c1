package node

import (
	"errors"
	"sync/atomic"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// openLog is the operation log, or nothing before it is open: raft dials, and so asks for the members, while the log is
// being opened.
type openLog struct{ group atomic.Pointer[raftlog.Group] }

// view is the newest view, nil before the log is open.
func (o *openLog) view() *state.View {
	if group := o.group.Load(); group != nil {
		return group.View()
	}
	return nil
}

// members are those of the log's group.
func (o *openLog) members() ([]raftlog.ServerInfo, error) {
	group := o.group.Load()
	if group == nil {
		return nil, errors.New("the log is not open yet")
	}
	return group.Servers()
}

// isNode reports whether the cell has a node.
func (o *openLog) isNode(id string) bool {
	view := o.view()
	return view != nil && view.Node(state.NodeID(id)) != nil
}

// provenAt reports whether the node at an address is known to be of a build that reads streams in records.
func (o *openLog) provenAt(addr string) bool {
	known := false
	if view := o.view(); view != nil {
		view.Nodes(func(node *state.Node) bool {
			known = node.Addr == addr && node.Level >= state.LevelProven
			return !known
		})
	}
	return known
}

// diskReserve is the cell's setting, once the log says which cell it is.
func (o *openLog) diskReserve() (bytes uint64, known bool) {
	view := o.view()
	if view == nil {
		return 0, false
	}
	return view.Settings.DiskReserve, view.Cell != ""
}
