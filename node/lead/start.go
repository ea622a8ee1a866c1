package lead

import (
	"context"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
)

// starter starts what may start, again at every change of the state. On nodes that do not lead it does nothing but wait
// for that. All of it belongs to the goroutine of run.
type starter struct {
	env
	decider *decider
	moment  func() schedule.Moment
	unknown unknownZones
	found   founding
	ages    aging
}

func (s *starter) run(ctx context.Context) {
	for {
		s.ages.round(ctx, s) // first, so that what it changes does not wake this loop
		changed, elected := s.log.Changed(), s.log.LeaderChanged()
		if s.log.IsLeader() && s.confirm(ctx) == nil {
			s.foundCell(ctx)
			s.unknown.round(&s.env)
			if !s.startRound(ctx) {
				changed = nil // all was refused: proposing it again at once would only fill the log
			}
		}
		select {
		case <-changed:
		case <-elected:
		case <-s.clock.After(s.times.Tick): // a pause between attempts ends without a change
		case <-ctx.Done():
			return
		}
	}
}

// startRound proposes the starts and the needless copies of one look at the queue. It answers false
// when there were some and none was carried out.
func (s *starter) startRound(ctx context.Context) bool {
	view := s.log.View()
	s.rescore(ctx, schedule.AtTime(view, s.log.Now()))
	round := schedule.Next(view, s.moment())
	var cmds []state.Command
	for _, c := range round.Needless {
		cmds = append(cmds, c)
	}
	for _, start := range round.Starts {
		cmds = append(cmds, start)
	}
	if len(cmds) == 0 {
		return true
	}
	results, _, err := s.log.Propose(ctx, cmds...)
	if err != nil {
		s.logger.Info("starts not proposed", "error", err)
		return false
	}
	carriedOut := false
	for i, res := range results {
		carriedOut = carriedOut || res.Err == nil
		if res.Err != nil && !res.Stale {
			s.logger.Error("start refused", "command", cmds[i].CommandType().String(), "error", res.Err)
		}
	}
	return carriedOut
}
