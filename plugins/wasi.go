package plugins

import (
	"encoding/binary"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// The few functions of WASI preview 1 that the runtimes of Go, TinyGo, Rust and AssemblyScript call
// before and while they run. They are written here, rather than taken from the engine, because they
// must keep no state (a closed stderr would be remembered from call to call), take time in proportion
// to what the guest is charged, and know nothing: no file, no argument, no variable, no clock that
// moves within a call.
//
// A wasiFunc answers an errno.
type wasiFunc func(i *instance, memory api.Memory, args []uint64) errno

type errno uint32

// The numbers of WASI preview 1.
const (
	errnoOK     errno = 0
	errnoBadf   errno = 8
	errnoFault  errno = 21
	errnoInval  errno = 28
	errnoNotsup errno = 58
	errnoSpipe  errno = 70
)

const (
	// maxVectors of one fd_write are looked at; the guest gets word that the rest was not written.
	maxVectors = 16
	// maxSubscriptions of one poll_oneoff. A runtime that sleeps waits for one clock.
	maxSubscriptions = 16

	subscriptionBytes = 48
	eventBytes        = 32
	clockSubscription = 0

	clockReal      = 0
	clockMonotonic = 1

	stdin, stdout, stderr = 0, 1, 2
)

var wasiFuncs = map[string]wasiFunc{
	"args_get":            func(*instance, api.Memory, []uint64) errno { return errnoOK },
	"environ_get":         func(*instance, api.Memory, []uint64) errno { return errnoOK },
	"sched_yield":         func(*instance, api.Memory, []uint64) errno { return errnoOK },
	"args_sizes_get":      wasiNothing,
	"environ_sizes_get":   wasiNothing,
	"clock_time_get":      wasiClock,
	"fd_close":            wasiStandard,
	"fd_fdstat_set_flags": wasiStandard,
	"fd_fdstat_get":       wasiStat,
	"fd_prestat_get":      func(*instance, api.Memory, []uint64) errno { return errnoBadf },
	"fd_prestat_dir_name": func(*instance, api.Memory, []uint64) errno { return errnoBadf },
	"fd_read":             wasiRead,
	"fd_seek":             wasiSeek,
	"fd_write":            wasiWrite,
	"poll_oneoff":         wasiPoll,
	"random_get":          wasiRandom,
}

// wasiNothing is args_sizes_get and environ_sizes_get(count, bytes).
func wasiNothing(_ *instance, memory api.Memory, args []uint64) errno {
	if !memory.WriteUint32Le(uint32(args[0]), 0) || !memory.WriteUint32Le(uint32(args[1]), 0) {
		return errnoFault
	}
	return errnoOK
}

// wasiClock is clock_time_get(clock, precision, out): the cell's time, which stands still during a
// call. The monotonic clock never moves at all: it must not go back between calls, nor be 0 for Go.
func wasiClock(i *instance, memory api.Memory, args []uint64) errno {
	nanos := uint64(1)
	switch uint32(args[0]) {
	case clockReal:
		nanos = uint64(max(i.env.nowMicros, 0)) * 1000
	case clockMonotonic:
	default:
		return errnoInval
	}
	if !memory.WriteUint64Le(uint32(args[2]), nanos) {
		return errnoFault
	}
	return errnoOK
}

// wasiStandard is fd_close(fd) and fd_fdstat_set_flags(fd, flags): nothing happens.
func wasiStandard(_ *instance, _ api.Memory, args []uint64) errno {
	if uint32(args[0]) > stderr {
		return errnoBadf
	}
	return errnoOK
}

// wasiStat is fd_fdstat_get(fd, out): a character device that can be read and written.
func wasiStat(_ *instance, memory api.Memory, args []uint64) errno {
	const characterDevice, readWrite = 2, 1<<1 | 1<<6
	if uint32(args[0]) > stderr {
		return errnoBadf
	}
	stat := make([]byte, 24) // u8 type, u16 flags at 2, u64 rights at 8, u64 inherited rights at 16
	stat[0] = characterDevice
	binary.LittleEndian.PutUint64(stat[8:], readWrite)
	if !memory.Write(uint32(args[1]), stat) {
		return errnoFault
	}
	return errnoOK
}

// wasiRead is fd_read(fd, vectors, n, out): standard input is at its end.
func wasiRead(_ *instance, memory api.Memory, args []uint64) errno {
	if uint32(args[0]) != stdin {
		return errnoBadf
	}
	if !memory.WriteUint32Le(uint32(args[3]), 0) {
		return errnoFault
	}
	return errnoOK
}

func wasiSeek(_ *instance, _ api.Memory, args []uint64) errno {
	if uint32(args[0]) > stderr {
		return errnoBadf
	}
	return errnoSpipe
}

// wasiWrite is fd_write(fd, vectors, n, out). What goes to stdout is dropped.
func wasiWrite(i *instance, memory api.Memory, args []uint64) errno {
	fd, vectors, n := uint32(args[0]), uint32(args[1]), min(uint32(args[2]), maxVectors)
	if fd != stdout && fd != stderr {
		return errnoBadf
	}
	list, ok := memory.Read(vectors, n*8)
	if !ok {
		return errnoFault
	}
	written := uint32(0)
	for ; len(list) > 0; list = list[8:] {
		text, ok := memory.Read(binary.LittleEndian.Uint32(list), binary.LittleEndian.Uint32(list[4:]))
		if !ok {
			return errnoFault
		}
		if fd == stderr {
			i.env.complain(text)
		}
		written += uint32(len(text))
	}
	if !memory.WriteUint32Le(uint32(args[3]), written) {
		return errnoFault
	}
	return errnoOK
}

// wasiPoll is poll_oneoff(in, out, n, count): every sleep is over at once, nothing else can be waited for.
func wasiPoll(_ *instance, memory api.Memory, args []uint64) errno {
	in, out, n := uint32(args[0]), uint32(args[1]), uint32(args[2])
	if n == 0 || n > maxSubscriptions {
		return errnoInval
	}
	subscriptions, ok := memory.Read(in, n*subscriptionBytes)
	if !ok {
		return errnoFault
	}
	events := make([]byte, 0, maxSubscriptions*eventBytes)
	for ; len(subscriptions) > 0; subscriptions = subscriptions[subscriptionBytes:] {
		event := make([]byte, eventBytes) // u64 user data, u16 errno at 8, u8 type at 10
		copy(event, subscriptions[:8])
		event[10] = subscriptions[8]
		if event[10] != clockSubscription {
			binary.LittleEndian.PutUint16(event[8:], uint16(errnoNotsup))
		}
		events = append(events, event...)
	}
	if !memory.Write(out, events) || !memory.WriteUint32Le(uint32(args[3]), n) {
		return errnoFault
	}
	return errnoOK
}

// wasiRandom is random_get(out, n): the same bytes in every call, so that an instance cannot know how
// many calls came before. Each costs a unit of the budget.
func wasiRandom(i *instance, memory api.Memory, args []uint64) errno {
	bytes, ok := memory.Read(uint32(args[0]), uint32(args[1]))
	if !ok || !i.charge(uint64(len(bytes))) {
		return errnoFault
	}
	i.env.fillRandom(bytes)
	return errnoOK
}

// procExit is proc_exit(code): the call ends, and with it the instance.
func procExit(_ *instance, _ api.Memory, args []uint64) {
	panic(sys.NewExitError(uint32(args[0]))) // how a host function unwinds a guest; the engine recovers it
}
