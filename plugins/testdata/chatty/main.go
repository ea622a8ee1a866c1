// Command chatty is a policy that does, when QueuedOps asks for it, what a policy should not do. The
// host's tests build it with the Go toolchain.
package main

import (
	crand "crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/datanode/datanode/plugins/guest"
)

var _ = guest.Register(guest.Policy{
	Name: "chatty", Version: "1.0", Reasons: []string{"asked"},
	ConfigSchema: `{"type":"object"}`,
	Score:        func(f *guest.Facts) (int32, guest.Reason) { return score(f), 1 },
	Conflict: func(existing, incoming *guest.Facts, _ bool) (guest.Verdict, guest.Reason) {
		return guest.Wait, 1
	},
})

var sink []byte

func score(f *guest.Facts) int32 {
	switch f.QueuedOps {
	case 1: // talk
		for i := range 20 {
			guest.Log(fmt.Sprintf("line %d\x1b", i))
		}
		guest.Log(strings.Repeat("x", 10_000))
		fmt.Fprint(os.Stderr, strings.Repeat("on and on ", 1000))
	case 2: // count
		guest.Count("asked", 2)
		guest.Count("asked", 3)
		for i := range 200 {
			guest.Count(fmt.Sprint("many-", i), 1)
		}
	case 3:
		panic("chatty: gives up")
	case 4: // the configuration
		short, _ := guest.Config("short")
		long, _ := guest.Config("long")
		_, absent := guest.Config("absent")
		if absent {
			return -1
		}
		return int32(len(short)*100_000 + len(long))
	case 5: // what time is it?
		return int32(time.Now().UnixMicro() - f.NowMicros)
	case 6: // look around
		n, err := os.Stdin.Read(make([]byte, 8)) // opening a file would need an import that is refused
		if n > 0 || err == nil || len(os.Environ()) > 0 || len(os.Args) > 1 {
			return -1
		}
		return 1
	case 7: // make garbage, 64 MiB of it
		for range 1024 {
			sink = make([]byte, 64<<10)
		}
		return int32(len(sink))
	case 8:
		var b [4]byte
		crand.Read(b[:])
		return int32(b[0]) | int32(b[1])<<8 | int32(b[2])<<16
	case 9:
		os.Exit(0)
	case 10:
		for i := 0; ; i++ {
			sink = make([]byte, i%100)
		}
	}
	return 0
}

func main() {}
