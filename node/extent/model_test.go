package extent

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/node/internal/vfs"
)

var errDied = errors.New("the process died")

// modelStore is the store as it should be: a map. Every call may be one during which the process
// dies; then the extent must be as before the call, or as after it, or between the two in the way
// that the call allows, and all others as they were.
type modelStore struct {
	t       *rapid.T
	fs      *vfs.Mem
	fault   *vfs.Fault
	s       *Store
	extents map[ID]*modelExtent
	fences  map[ID]Fence
}

type modelExtent struct {
	data   []byte
	sealed bool
	floor  uint64 // what is known to be acknowledged at least: where the last append began
	torn   bool   // the process died in an append or a seal since the extent was made or sealed
}

const modelIDs = 4

func (m *modelStore) id() ID { return ID(rapid.Uint64Range(1, modelIDs).Draw(m.t, "id")) }

func (m *modelStore) reopen() {
	s, report, err := Open(m.fault, "/data", Options{OpenFiles: 2})
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	if len(report.Damaged) > 0 || report.LostFences > 0 {
		m.t.Fatalf("a crash must never look like rot:\n%s", report)
	}
	m.s = s
	m.s.maxAwake = 1 // so that sealed extents sleep again all the time
	for _, e := range m.extents {
		e.sealed = false
	}
}

// during runs call, which changes extent id. If the process dies in it, or the call fails, after says
// what states the extent may be in: it gets what is there now, nil for no extent.
func (m *modelStore) during(id ID, call func() error, after func(now []byte, there bool) bool) (died bool, err error) {
	dies := rapid.IntRange(0, 3).Draw(m.t, "dies") == 0
	if dies {
		m.fault.Set(vfs.FailFrom(rapid.IntRange(1, 14).Draw(m.t, "step"), &vfs.Partial{
			Bytes: rapid.IntRange(0, 200_000).Draw(m.t, "written"), Err: errDied}))
	}
	err = call()
	if !dies {
		return false, err
	}
	m.fault.Set(nil)
	m.crash()
	now, there := m.look(id)
	was := m.extents[id]
	unchanged := there == (was != nil) && (was == nil || bytes.Equal(was.data, now))
	switch {
	case err == nil: // acknowledged before it died: the caller's model is checked below
		return false, nil
	case !unchanged && !after(now, there):
		m.t.Fatalf("extent %d is neither as before nor as after: there %v, %d bytes", id, there, len(now))
	}
	delete(m.extents, id)
	if there {
		m.extents[id] = &modelExtent{data: now, torn: true}
		if unchanged {
			m.extents[id].floor = was.floor
		}
	}
	if f := m.s.Fence(id); f < m.fences[id] {
		m.t.Fatalf("extent %d: fence %d after the crash, %d was raised", id, f, m.fences[id])
	} else if f > 0 {
		m.fences[id] = f
	}
	return true, err
}

func (m *modelStore) crash() {
	seen := map[ID][]byte{}
	if rapid.Bool().Draw(m.t, "kill first") {
		m.fs.Kill()
		m.reopen()
		for _, id := range m.s.IDs() {
			seen[id], _ = m.look(id)
		}
	}
	seed := rapid.Uint64().Draw(m.t, "crash seed")
	if seed%4 == 0 {
		m.fs.Crash(nil)
	} else {
		m.fs.Crash(rand.New(rand.NewPCG(seed, 0)))
	}
	m.reopen()
	for id, data := range seen { // what Open has shown once is durable
		if now, there := m.look(id); !there || !bytes.Equal(now, data) {
			m.t.Fatalf("extent %d: %d bytes when opened, then there %v with %d", id, len(data), there, len(now))
		}
	}
}

func (m *modelStore) look(id ID) ([]byte, bool) {
	info, err := m.s.Stat(id)
	if CodeOf(err) == CodeNotFound || err == nil && !info.Present {
		return nil, false
	}
	if err != nil {
		m.t.Fatalf("stat %d: %v", id, err)
	}
	buf := make([]byte, info.Length)
	if _, err := m.s.ReadAt(id, buf, 0); err != nil {
		m.t.Fatalf("read %d bytes of extent %d: %v", len(buf), id, err)
	}
	return buf, true
}

func (m *modelStore) expect(err error, code Code) {
	if CodeOf(err) != code {
		m.t.Fatalf("got %v, want code %v", err, code)
	}
}

func (m *modelStore) Create(t *rapid.T) {
	m.t = t
	id, was := m.id(), m.extents
	fence := m.fences[id] + 1
	died, err := m.during(id, func() error { return m.s.Create(id, fence, 0) },
		func(now []byte, there bool) bool { return there && len(now) == 0 })
	if died {
		return
	}
	m.fences[id] = fence
	if was[id] != nil {
		m.expect(err, CodeExists)
		return
	}
	m.expect(err, 0)
	m.extents[id] = &modelExtent{}
}

func (m *modelStore) Append(t *rapid.T) {
	m.t = t
	id := m.id()
	e := m.extents[id]
	size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 5*MaxRecordBytes)).Draw(t, "size")
	p := pattern(rapid.Uint64().Draw(t, "bytes"), size)
	var data []byte
	if e != nil {
		data = e.data
	}
	parts := m.cutUp(p)
	died, err := m.during(id, func() error { return m.s.Append(id, m.fences[id], uint64(len(data)), parts...) },
		func(now []byte, there bool) bool {
			return there && len(now) >= len(data) && bytes.Equal(now[:len(data)], data) &&
				bytes.HasPrefix(p, now[len(data):])
		})
	switch {
	case died:
	case e == nil:
		m.expect(err, CodeNotFound)
	case e.sealed && err != nil:
		m.expect(err, CodeSealed)
	default:
		m.expect(err, 0)
		if m.extents[id].data = append(bytes.Clone(data), p...); size > 0 {
			m.extents[id].floor = uint64(len(data))
		}
	}
}

// cutUp is p in some parts, of which some may be empty.
func (m *modelStore) cutUp(p []byte) (parts [][]byte) {
	for range rapid.IntRange(0, 6).Draw(m.t, "cuts") {
		n := rapid.IntRange(0, len(p)).Draw(m.t, "part")
		parts, p = append(parts, p[:n]), p[n:]
	}
	return append(parts, p)
}

func (m *modelStore) Seal(t *rapid.T) {
	m.t = t
	id := m.id()
	e := m.extents[id]
	if e == nil {
		m.expect(m.s.Seal(id, 0), CodeNotFound)
		return
	}
	info, _ := m.s.Stat(id)
	length := rapid.IntRange(0, len(e.data)).Draw(t, "length")
	if uint64(length) < info.Floor {
		m.expect(m.s.Seal(id, uint64(length)), CodeBelowFloor)
		length = int(info.Floor)
	}
	if e.sealed {
		length = len(e.data)
	}
	died, err := m.during(id, func() error { return m.s.Seal(id, uint64(length)) },
		func(now []byte, there bool) bool { return there && bytes.Equal(now, e.data[:length]) })
	if died {
		return
	}
	m.expect(err, 0)
	if length < len(e.data) {
		e.floor = 0 // the record that said so may have been cut
	}
	e.data, e.torn = e.data[:length], false
	info, _ = m.s.Stat(id)
	e.sealed = info.Sealed // not if it died after the call
}

func (m *modelStore) Drop(t *rapid.T) {
	m.t = t
	id := m.id()
	died, err := m.during(id, func() error { return m.s.Drop(id) },
		func(_ []byte, there bool) bool { return !there })
	if died {
		return
	}
	m.expect(err, 0)
	delete(m.extents, id)
}

// Repair stages other bytes in up to three sittings and commits them.
func (m *modelStore) Repair(t *rapid.T) {
	m.t = t
	id := m.id()
	fence := m.fences[id] + 1
	p := pattern(rapid.Uint64().Draw(t, "bytes"), rapid.IntRange(0, 4*MaxRecordBytes).Draw(t, "size"))
	died, err := m.during(id, func() error { return m.repair(id, fence, p) },
		func(now []byte, there bool) bool { return there && bytes.Equal(now, p) })
	if died {
		return
	}
	m.expect(err, 0)
	m.fences[id] = fence
	m.extents[id] = &modelExtent{data: p}
	info, _ := m.s.Stat(id)
	m.extents[id].sealed = info.Sealed
}

func (m *modelStore) repair(id ID, fence Fence, p []byte) error {
	st, err := m.s.Stage(id, fence, 0)
	if err != nil {
		return err
	}
	defer st.Close()
	if err := st.Truncate(min(st.Len(), uint64(len(p)/3))); err != nil {
		return err
	}
	if err := st.Append(p[min(int(st.Len()), len(p)):]); err != nil {
		return err
	}
	err = st.Commit(uint64(len(p)), crc32.Checksum(p, castagnoli))
	if CodeOf(err) != CodeCorrupt {
		return err
	}
	// What an earlier repair left behind was of other bytes: begin anew.
	if err := st.Truncate(0); err != nil {
		return err
	}
	if err := st.Append(p); err != nil {
		return err
	}
	return st.Commit(uint64(len(p)), crc32.Checksum(p, castagnoli))
}

func (m *modelStore) RaiseFence(t *rapid.T) {
	m.t = t
	id := m.id()
	fence := m.fences[id] + 1
	died, err := m.during(id, func() error { return m.s.RaiseFence(id, fence) },
		func([]byte, bool) bool { return false })
	if died {
		return
	}
	m.expect(err, 0)
	m.fences[id] = fence
	m.expect(m.s.Append(id, fence-1, 0, nil), CodeStaleFence)
}

func (m *modelStore) Crash(t *rapid.T) {
	m.t = t
	m.crash()
}

// Catalogue writes the catalogue anew: from then on it lies more and more.
func (m *modelStore) Catalogue(t *rapid.T) {
	m.t = t
	_, err := m.during(m.id(), func() error { m.s.writeCatalogue(); return m.s.Failed() },
		func([]byte, bool) bool { return false })
	if err != nil && !errors.Is(err, errDied) {
		t.Fatalf("write the catalogue: %v", err)
	}
}

// OlderBuild does what an older build does with a footer: it cuts it off.
func (m *modelStore) OlderBuild(t *rapid.T) {
	m.t = t
	id := m.id()
	if m.extents[id] == nil {
		return
	}
	name := m.s.dir.extent(id)
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := m.fs.OpenRW(name)
	if err != nil {
		t.Fatal(err)
	}
	if ft, _, err := readFooter(f, id); err == nil {
		if err := errors.Join(f.Truncate(ft.idx.endPos), f.Sync()); err != nil {
			t.Fatal(err)
		}
		m.extents[id].floor = 0 // as older builds knew it
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	m.reopen()
}

// Check compares everything.
func (m *modelStore) Check(t *rapid.T) {
	m.t = t
	for id := ID(1); id <= modelIDs; id++ {
		now, there := m.look(id)
		e := m.extents[id]
		if there != (e != nil) || e != nil && !bytes.Equal(now, e.data) {
			t.Fatalf("extent %d: there %v with %d bytes; the model: %v", id, there, len(now), e != nil)
		}
		if e != nil {
			info, _ := m.s.Stat(id)
			if info.Floor < e.floor || info.Floor > uint64(len(e.data)) {
				t.Fatalf("extent %d: floor %d, want %d to %d", id, info.Floor, e.floor, len(e.data))
			}
			if info.Cut && !e.torn {
				t.Fatalf("extent %d: its end is said to have been unsound, and nothing has happened to it", id)
			}
		}
		if f := m.s.Fence(id); f != m.fences[id] {
			t.Fatalf("extent %d: fence %d, want %d", id, f, m.fences[id])
		}
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		m := &modelStore{t: t, fs: fs, fault: vfs.NewFault(fs), extents: map[ID]*modelExtent{}, fences: map[ID]Fence{}}
		m.reopen()
		t.Repeat(map[string]func(*rapid.T){
			"create": m.Create, "append": m.Append, "append again": m.Append, "seal": m.Seal, "drop": m.Drop,
			"repair": m.Repair, "raise fence": m.RaiseFence, "crash": m.Crash,
			"catalogue": m.Catalogue, "older build": m.OlderBuild, "": m.Check,
		})
	})
}
