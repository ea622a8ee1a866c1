package extent

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/datanode/datanode/node/internal/vfs"
)

// recoveryCase is one file under testdata/recovery: a store, and what is done to its files.
type recoveryCase struct {
	t  *testing.T
	fs *vfs.Mem
	s  *Store
}

// TestRecovery runs the cases in testdata/recovery. Commands:
//
//	create id=N fence=N            append id=N bytes=N (at the end)      seal id=N length=N
//	stage id=N fence=N bytes=N     fence id=N fence=N                    read id=N off=N bytes=N
//	acknowledge id=N bytes=N       commit id=N fence=N bytes=N           drop id=N, quarantine id=N
//	flip id=N pos=N                garble id=N pos=N bytes=N             grow id=N bytes=N
//	shrink id=N bytes=N            file name=PATH                        ls dir=PATH
//	stat id=N                      open [all] [crash | seed=N]: what Open reports
func TestRecovery(t *testing.T) {
	datadriven.Walk(t, "testdata/recovery", func(t *testing.T, path string) {
		c := &recoveryCase{t: t, fs: vfs.NewMem()}
		c.s, _ = open(t, c.fs)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := c.run(d)
			if err != nil {
				return out + "error: " + err.Error() + "\n"
			}
			return out
		})
	})
}

func number(t *testing.T, d *datadriven.TestData, key string) (n int) {
	d.MaybeScanArgs(t, key, &n)
	return n
}

func (c *recoveryCase) run(d *datadriven.TestData) (string, error) {
	id := ID(number(c.t, d, "id"))
	fence, n := Fence(number(c.t, d, "fence")), number(c.t, d, "bytes")
	switch d.Cmd {
	case "create":
		return "", c.s.Create(id, fence, 0)
	case "append":
		info, err := c.s.Stat(id)
		if err != nil {
			return "", err
		}
		return "", c.s.Append(id, c.s.Fence(id), info.Length, pattern(info.Length, n))
	case "seal":
		return "", c.s.Seal(id, uint64(number(c.t, d, "length")))
	case "stage":
		st, err := c.s.Stage(id, fence, 0)
		if err != nil {
			return "", err
		}
		out := fmt.Sprintf("resumes at %d\n", st.Len())
		return out, st.Append(pattern(st.Len(), n))
	case "acknowledge":
		c.s.Acknowledge(id, uint64(n))
		return "", nil
	case "commit":
		p := pattern(0, n)
		st, err := c.s.Stage(id, fence, 0)
		if err == nil {
			err = errors.Join(st.Truncate(0), st.Append(p), st.Commit(uint64(n), crc32.Checksum(p, castagnoli)))
		}
		return "", err
	case "drop":
		return "", c.s.Drop(id)
	case "quarantine":
		return "", c.s.Quarantine(id, "the test says so")
	case "fence":
		return "", c.s.RaiseFence(id, fence)
	case "read":
		got, err := c.s.ReadAt(id, make([]byte, n), uint64(number(c.t, d, "off")))
		return fmt.Sprintf("%d bytes\n", got), err
	case "stat":
		info, err := c.s.Stat(id)
		return fmt.Sprintf("length %d, floor %d, cut %v, sealed %v, file %d bytes, damaged %v\n", info.Length, info.Floor,
			info.Cut, info.Sealed, info.PhysicalBytes, info.Damaged), err
	case "open":
		return c.reopen(d)
	}
	return c.tamper(d, id, n)
}

func (c *recoveryCase) reopen(d *datadriven.TestData) (string, error) {
	switch {
	case d.HasArg("crash"):
		c.fs.Crash(nil)
	case d.HasArg("seed"):
		c.fs.Crash(rand.New(rand.NewPCG(uint64(number(c.t, d, "seed")), 0)))
	default:
		must(c.t, c.s.Close())
	}
	s, report, err := Open(c.fs, "/data", Options{VerifyAll: d.HasArg("all")})
	c.s = s
	return report.String(), err
}

// tamper changes files behind the store's back.
func (c *recoveryCase) tamper(d *datadriven.TestData, id ID, n int) (string, error) {
	var name string
	switch d.Cmd {
	case "file":
		d.ScanArgs(c.t, "name", &name)
		f, err := c.fs.Create("/data/" + name)
		if err == nil {
			err = f.Close()
		}
		return "", err
	case "ls":
		d.ScanArgs(c.t, "dir", &name)
		names, err := c.fs.List("/data/" + name)
		return strings.Join(names, "\n") + "\n", err
	}
	f, err := c.fs.OpenRW(c.s.dir.extent(id))
	if err != nil {
		return "", err
	}
	size, _ := f.Size()
	pos := int64(number(c.t, d, "pos"))
	switch d.Cmd {
	case "flip":
		flip(c.t, c.fs, c.s.dir.extent(id), pos)
	case "garble":
		put(c.t, f, pattern(99, n), pos)
	case "grow":
		put(c.t, f, pattern(99, n), size)
	case "shrink":
		return "", f.Truncate(size - int64(n))
	default:
		c.t.Fatalf("unknown command %q", d.Cmd)
	}
	return "", nil
}
