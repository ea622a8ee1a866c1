package transport

import (
	"net"
	"net/netip"

	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/raftlog"
)

// addresses say which nodes are where, as far as this node's log, or who started it, knows.
type addresses struct {
	members func() ([]raftlog.ServerInfo, error)
	known   []string // addresses
}

// nodeAt is the node that the log's group has at an address, empty if it is not known.
func (w *addresses) nodeAt(addr string) string {
	servers, err := w.members()
	if err != nil {
		return ""
	}
	for _, m := range servers {
		if m.Addr == addr {
			return string(m.ID)
		}
	}
	return ""
}

// onMachine reports whether the cell has a node on a machine. Only those that are known by their IP address count.
func (w *addresses) onMachine(machine string) bool {
	is := func(node string) bool {
		ap, err := netip.ParseAddrPort(node)
		return err == nil && connlimit.Machine(net.TCPAddrFromAddrPort(ap)) == machine
	}
	if servers, err := w.members(); err == nil {
		for _, s := range servers {
			if is(s.Addr) {
				return true
			}
		}
	}
	for _, addr := range w.known {
		if is(addr) {
			return true
		}
	}
	return false
}
