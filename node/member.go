package node

import (
	"github.com/datanode/datanode/node/diskhang"
	"github.com/datanode/datanode/node/member"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/wire"
)

// makeHang makes what finds out whether the disk hangs. The log is open.
func (n *Node) makeHang() {
	n.hang = diskhang.New(diskhang.Options{
		Node: n.id, Log: n.log, Longest: n.watched.Longest, HandOn: n.time.downAfter, Clock: n.clock, Logger: n.logger,
	})
}

// makeMember makes what keeps this node in its cell. All that it reports of is made.
func (n *Node) makeMember(bootstrap []raftlog.Server) {
	n.member = member.New(member.Options{
		Node: n.id, Addr: n.addr, Incarnation: n.incarnation, Dir: n.cfg.Dir, RunsBefore: n.runsBefore,
		Bootstrap: bootstrap, Join: n.cfg.Join, Log: n.log, Folder: n.folder, Network: n.transport,
		Leader: n.lead, Divergences: n.divergences, Hang: n.hang, Clock: n.clock, Logger: n.logger,
		Heartbeat: n.time.heartbeat, DownAfter: n.time.downAfter,
		Describe: n.describeTo, Heard: n.heardLeader, DiskNews: func() <-chan struct{} { return n.disks.Status().Changed },
		WhoIsAt: n.whoIsAt, StoreOpen: n.storeOpen, Reconcile: n.reconcile,
		IsReady: n.life.isReady, BecomeReady: n.life.becomeReady, Fail: n.fail,
	})
}

// describeTo has a heartbeat say what this node's store, disk and programs are like.
func (n *Node) describeTo(beat *wire.Heartbeat) {
	disk := n.diskStatus()
	beat.Ready = beat.Ready && n.store.Failed() == nil
	beat.Free, beat.Total, beat.Refuses = disk.Free, disk.Total, disk.Refuses
	beat.Largest, beat.Disks = disk.Largest, n.disks.NotOK()
	beat.Running, beat.Compiled, beat.Serving = n.exec.Leases(), n.policies.Digests(), n.share.Serves()
	beat.Unsealed, beat.Number = n.quotas.Report()
}

// heardLeader records what the leader has answered to a heartbeat.
func (n *Node) heardLeader(beat *wire.Heartbeat, reply *wire.HeartbeatReply) {
	if beat != nil {
		n.quotas.Learned(beat.Number, reply.Unsealed)
	}
	n.noteServing(reply.Serving)
}
