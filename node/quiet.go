package node

import (
	"context"
	"slices"
	"strings"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// moment is now, as the scheduler needs it.
func (n *Node) moment() schedule.Moment {
	return schedule.Moment{
		Cell: n.log.Now(), Wall: state.Micros(n.now().UnixMicro()), Zones: &n.zones,
		Seen: schedule.Seen{Self: n.id, Silent: n.watch.silent},
	}
}

// lookAt tells why operations of a view wait.
func (n *Node) lookAt(view *state.View) *schedule.Look { return schedule.LookAt(view, n.moment()) }

// checkSetting refuses what the state cannot: it does not know which time zones there are, nor what open extents hold.
func (n *Node) checkSetting(ctx context.Context, key, value string) error {
	switch key {
	case state.KeyQuietWindows:
	case state.KeyQuotas:
		return n.quotas.CheckSetting(ctx, value)
	default:
		return nil
	}
	if err := schedule.CheckZones(value); err != nil {
		return wire.Errorf(wire.OpSetting, wire.CodeInvalid, "%s: %s", key, err.Error())
	}
	return nil
}

// unknownZones tells in the log, once for each change of them, which time zones this node does not know although it
// leads: nothing starts that their windows hold.
type unknownZones struct{ told []string }

func (u *unknownZones) round(n *Node) {
	zones := n.zones.Unknown(n.log.View().Settings.QuietWindows)
	if len(zones) > 0 && !slices.Equal(zones, u.told) {
		n.logger.Error("this node knows no such time zones; their quiet windows do not end here", "zones", strings.Join(zones, ","))
	}
	u.told = zones
}
