package connlimit

import (
	"net"
	"net/netip"
)

// ipv6Network is what one machine, or one household, has of the address space of IPv6.
const ipv6Network = 64

// Machine is what connections of one machine have in common: the IP address, of IPv6 the network.
func Machine(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap, err = tcp.AddrPort(), nil
	}
	if err != nil {
		return a.String()
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.Prefix(ipv6Network)
	if err != nil {
		return ip.String()
	}
	return prefix.String()
}

// HangUp closes a connection so that the system keeps nothing of it. The peer finds it reset.
func HangUp(nc net.Conn) {
	if tc, ok := nc.(*net.TCPConn); ok {
		_ = tc.SetLinger(0) // it is for speed
	}
	nc.Close()
}
