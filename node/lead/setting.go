package lead

import (
	"context"
	"slices"
	"strings"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// moment is now, as the scheduler needs it.
func (l *Leader) moment() schedule.Moment {
	return schedule.Moment{
		Cell: l.log.Now(), Wall: state.Micros(l.clock.Now().UnixMicro()), Zones: &l.zones,
		Seen: schedule.Seen{Self: l.id, Silent: l.watch.silent},
	}
}

// LookAt says why operations of a view wait.
func (l *Leader) LookAt(view *state.View) *schedule.Look { return schedule.LookAt(view, l.moment()) }

// CheckSetting refuses what the state cannot: it does not know which time zones there are, nor what open extents hold.
func (l *Leader) CheckSetting(ctx context.Context, key, value string) error {
	switch key {
	case state.KeyQuietWindows:
	case state.KeyQuotas:
		return l.o.Quotas.CheckSetting(ctx, value)
	default:
		return nil
	}
	if err := schedule.CheckZones(value); err != nil {
		return wire.Errorf(wire.OpSetting, wire.CodeInvalid, "%s: %s", key, err.Error())
	}
	return nil
}

// unknownZones reports in the log, once for each change of them, which time zones this node does not know although it
// leads: nothing starts that their windows hold.
type unknownZones struct {
	zones    *schedule.Zones
	reported []string
}

func (u *unknownZones) round(e *env) {
	zones := u.zones.Unknown(e.log.View().Settings.QuietWindows)
	if len(zones) > 0 && !slices.Equal(zones, u.reported) {
		e.logger.Error("this node knows no such time zones; their quiet windows do not end here",
			"zones", strings.Join(zones, ","))
	}
	u.reported = zones
}
