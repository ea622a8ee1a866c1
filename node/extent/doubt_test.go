package extent

import (
	"errors"
	"syscall"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// What a disk gives after it has failed says nothing of a replica: neither wrong bytes nor none are called damage.
func TestNoDamageOnAFailedDisk(t *testing.T) {
	mem := vfs.NewMem()
	fs := vfs.NewFault(mem)
	s, _, err := Open(fs, "/data", Options{})
	must(t, err)
	const length = 2*MaxRecordBytes + 5
	for id := range ID(3) {
		must(t, s.Create(id+1, 1, 0))
		must(t, s.Append(id+1, 1, 0, pattern(uint64(id), length)))
	}
	must(t, s.Seal(1, length))
	must(t, s.Seal(2, length))
	p := make([]byte, length)
	looks := func(id ID) map[string]error {
		_, read := s.ReadAt(id, p, 0)
		_, sum := s.Sum(id, length)
		_, scrub := s.Scrub(id, 0, length, freely)
		_, disk := s.ScrubDisk(id, 0, length, freely)
		return map[string]error{"read": read, "sum": sum, "scrub": scrub, "scrub of the disk": disk}
	}
	flip(t, mem, s.dir.extent(1), fileHeaderBytes+recordHeaderBytes+7)
	for what, err := range looks(1) {
		if CodeOf(err) != CodeCorrupt {
			t.Errorf("%s of rot on a sound disk: %v", what, err)
		}
	}
	fs.Set(vfs.FailNth(vfs.OpSync, 1, syscall.EIO))
	wantCode(t, s.Append(3, 1, length, []byte("x")), CodeDiskFailed)
	for what, err := range looks(1) {
		if CodeOf(err) != CodeDiskFailed {
			t.Errorf("%s of wrong bytes on a failed disk: %v", what, err)
		}
	}
	fs.Set(func(c vfs.Call) error {
		if c.Op == vfs.OpRead {
			return syscall.EIO
		}
		return nil
	})
	for what, err := range looks(2) {
		if CodeOf(err) != CodeDiskFailed || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s of a disk that reads no more: %v", what, err)
		}
	}
	fs.Set(nil)
	for what, err := range looks(2) {
		if err != nil {
			t.Errorf("%s of what a failed disk still has: %v", what, err)
		}
	}
}
