package node

import (
	"context"
	"errors"

	"github.com/datanode/datanode/node/health"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/node/web"
	"github.com/datanode/datanode/wire"
)

// openHTTP serves health, metrics and profiles, if the configuration says where.
func (n *Node) openHTTP() (err error) {
	if n.cfg.HTTP == "" {
		return nil
	}
	n.web, err = web.Open(n.life.ctx, web.Options{
		Addr: n.cfg.HTTP, Local: loopback(n.cfg.HTTP), Hosts: n.cfg.HTTPHosts, Advertise: n.addr, Logger: n.logger,
		Identity: n.transport.Source(), Plain: n.cfg.HTTPPlain, FirstByte: n.time.firstByte, Checks: n.checks,
		Metrics: web.MetricsOptions{Transport: n.transport, View: n.log.View, Numbers: n.numbers},
	})
	return err
}

// HTTPAddr is where health and metrics are, empty if nowhere.
func (n *Node) HTTPAddr() string { return n.web.Addr() }

// HTTPURL is where health and metrics are, empty if nowhere.
func (n *Node) HTTPURL() string { return n.web.URL() }

// checks are the conditions of readiness, and what an operator should know besides.
func (n *Node) checks(ctx context.Context) []health.Check {
	var leader, caughtUp error
	if id, _ := n.log.Leader(); id == "" {
		leader = errors.New("no leader is known")
	}
	if !n.life.isReady() {
		caughtUp = errors.New("catching up with the log")
	}
	// One whose disk is full reads and deletes as before.
	room := health.Check{Name: "room", OK: true, Advisory: true}
	if why := n.disks.Status().Refuses; why != "" {
		room.OK, room.Detail = false, "takes no replicas and no appends: "+why
	}
	suits := health.Check{Name: "file-system", OK: true, Advisory: true}
	if why := n.space.Status().Caution; why != "" {
		suits.OK, suits.Detail = false, why
	}
	checks := []health.Check{
		health.Of("leader", leader),
		health.Of("consistent-read", n.catchUp(ctx)),
		health.Of("caught-up", caughtUp),
		health.Of("store", n.store.Failed()),
		health.Of("disk-answers", n.hang.Err()),
		health.Of("log", n.log.Err()),
		room,
		health.Disks(n.disks.NotOK(), n.diskSince),
		n.pauseCheck(),
		suits,
	}
	if source := n.transport.Source(); source != nil {
		checks = append(checks, health.Certs(source, n.cfg.TLS.Deny != "", n.clock.Now())...)
	}
	return health.Levels(checks)
}

// pauseCheck is of a planned stop of this node: as somebody means it to be, and named all the same.
func (n *Node) pauseCheck() health.Check {
	c := health.Check{Name: "paused", OK: true, Advisory: true}
	if self := n.log.View().Node(n.id); self != nil && self.IsPaused() {
		c.Detail = schedule.PausedText(self) + "; datanode node resume " + string(n.id) + " ends that"
	}
	return c
}

// numbers are what the metrics say of this node.
func (n *Node) numbers() web.Numbers {
	now := web.Numbers{
		Applied: n.log.AppliedIndex(), Commit: n.log.CommitIndex(), Abstains: n.log.Abstains() != nil,
		Leads: n.log.IsLeader(), Ready: n.life.isReady(), Diverged: len(n.divergences.Among(n.log.View())),
		StoreFailed: n.store.Failed() != nil, DiskHangs: n.hang.Err() != nil, Disk: n.diskStatus(), Scrub: n.scrub.Describe(),
		Disks:          n.disks.States(),
		DamagedEntries: n.log.DamagedEntries(), StepsRefused: map[wire.OpType]uint64{},
		SessionsRefused: map[wire.Session]uint64{}, Misuse: n.misuse(), Turns: map[string]web.TurnNumbers{},
		QuotaRefused: n.quotas.Refused(), RepairMemory: n.copyMemory.Bytes(), Unsealed: n.quotas.UnsealedBytes,
	}
	now.Rewrites, now.RewriteBytes, now.RewritesFailed = n.replicas.Rewrites()
	for _, step := range replica.StepTypes() {
		now.StepsRefused[step] = n.replicas.Refused(step)
	}
	for s := wire.SessionClient; s.Valid(); s++ {
		now.SessionsRefused[s] = n.sessions.refused[s].Load()
	}
	for work, t := range n.turns {
		running, waiting, refused := t.Tally()
		now.Turns[string(work)] = web.TurnNumbers{Running: running, Waiting: waiting, Refused: refused}
	}
	now.Submissions.Waiting, now.Submissions.Refused = n.lead.Waiting()
	return now
}

// misuse is what somebody got wrong, or tried, with the sessions of the cell; the keys are labels.
func (n *Node) misuse() map[string]uint64 {
	owner, number := n.lead.Misused()
	return map[string]uint64{"owner": owner, "number": number, "answer": n.submitter.WrongAnswers()}
}
