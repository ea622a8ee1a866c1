package raftlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// recordKind numbers what a snapshot holds: part of the format, never reused, only appended.
type recordKind uint8

const (
	recordHeader  recordKind = 1 // state.Header, first
	recordChain   recordKind = 2 // chainRecord, second
	recordNode    recordKind = 3
	recordExtent  recordKind = 4
	recordOp      recordKind = 5
	recordSession recordKind = 6
	recordPolicy  recordKind = 7
	recordHoles   recordKind = 8
	recordEnd     recordKind = 255 // count of the records before it, as eight bytes; last
)

const (
	snapshotMagic = "DNSNAP"
	// snapshotVersion is the highest there is. A snapshot's version is the level of the state: see state.Level.
	snapshotVersion    = uint16(state.LevelNow)
	snapshotHeadBytes  = len(snapshotMagic) + 2
	recordHeadBytes    = 1 + 4
	maxRecordBytes     = 16 << 20
	snapshotBufferSize = 256 << 10
)

// chainRecord carries the chain on.
type chainRecord struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Chain  ChainPoint
	Points []ChainPoint
	// What the engine keeps of the snapshot, here too so that the snapshot's checksum is over it. All zero in a
	// snapshot of an older build.
	Covers covers
}

// snapshot is the state at one moment. It is immutable.
type snapshot struct {
	view   *state.View
	chain  ChainPoint
	points chainPoints
	covers covers
}

// Persist writes the snapshot to a sink, or cancels that.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if own, ok := sink.(*snapshotSink); ok {
		s.covers = own.covers
		own.installed = false
	}
	if err := s.write(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release has nothing to let go of: the view is garbage when nobody reads it.
func (s *snapshot) Release() {}

func (s *snapshot) write(to io.Writer) error {
	w := &recordWriter{sum: crc32.New(castagnoli)}
	w.to = bufio.NewWriterSize(to, snapshotBufferSize)
	w.raw(binary.LittleEndian.AppendUint16([]byte(snapshotMagic), uint16(s.view.Level)))
	err := errors.Join(
		w.value(recordHeader, s.view.Header()),
		w.value(recordChain, chainRecord{Chain: s.chain, Points: s.points, Covers: s.covers}),
		s.view.Dump(state.Records{
			Node:    func(n *state.Node) error { return w.value(recordNode, n) },
			Extent:  func(e *state.Extent) error { return w.value(recordExtent, e) },
			Op:      func(o *state.Op) error { return w.value(recordOp, o) },
			Session: func(ses *state.Session) error { return w.value(recordSession, ses) },
			Policy:  func(p *state.LoadPolicy) error { return w.value(recordPolicy, p) },
			Holes:   func(h *state.Holes) error { return w.value(recordHoles, h) },
		}),
	)
	if err != nil {
		return err
	}
	w.record(recordEnd, binary.LittleEndian.AppendUint64(nil, w.count))
	w.raw(w.sum.Sum(nil))
	return w.to.Flush()
}

// recordWriter sums what it writes. Errors of the writer stay with to, up to its Flush.
type recordWriter struct {
	to    *bufio.Writer
	sum   hash.Hash32
	buf   []byte
	count uint64
}

func (w *recordWriter) raw(b []byte) {
	_, _ = w.to.Write(b)
	_, _ = w.sum.Write(b)
}

func (w *recordWriter) record(k recordKind, b []byte) {
	var head [recordHeadBytes]byte
	head[0] = byte(k)
	binary.LittleEndian.PutUint32(head[1:], uint32(len(b)))
	w.raw(head[:])
	w.raw(b)
	w.count++
}

func (w *recordWriter) value(k recordKind, v any) (err error) {
	if w.buf, err = wire.AppendMarshal(w.buf[:0], v); err != nil {
		return err
	}
	if len(w.buf) > maxRecordBytes {
		return corrupt("a %T of %d bytes does not fit a snapshot, whose records have at most %d", v, len(w.buf),
			maxRecordBytes)
	}
	w.record(k, w.buf)
	return nil
}

// restored is what a snapshot came to.
type restored struct {
	snapshotHead
	st *state.State
}

// snapshotHead is what a snapshot says before its records.
type snapshotHead struct {
	header state.Header
	chain  ChainPoint
	points chainPoints // the last one is chain
	covers covers
}

// readSnapshot reads a whole snapshot. It answers nothing unless all of it is sound.
func readSnapshot(from io.Reader) (restored, error) {
	r := newRecordReader(from)
	head, err := r.head()
	if err != nil {
		return restored{}, err
	}
	st, into := state.Restore(head.header)
	if err := r.records(into); err != nil {
		return restored{}, err
	}
	return restored{snapshotHead: head, st: st}, nil
}

// scanSnapshot reads a whole snapshot as readSnapshot does, without making a state of it.
func scanSnapshot(from io.Reader) (snapshotHead, error) {
	r := newRecordReader(from)
	head, err := r.head()
	for err == nil {
		var k recordKind
		var b []byte
		if k, b, err = r.record(); err == nil && k == recordEnd {
			if err = r.end(b); err == nil {
				return head, nil
			}
		}
	}
	return snapshotHead{}, err
}

// recordReader sums what it reads.
type recordReader struct {
	from  *bufio.Reader
	sum   hash.Hash32
	buf   []byte
	count uint64
}

func newRecordReader(from io.Reader) *recordReader {
	return &recordReader{from: bufio.NewReaderSize(from, snapshotBufferSize), sum: crc32.New(castagnoli)}
}

// head reads what comes before the records. It is to be believed once end has been reached.
func (r *recordReader) head() (snapshotHead, error) {
	if err := r.magic(); err != nil {
		return snapshotHead{}, err
	}
	var h state.Header
	var c chainRecord
	if err := errors.Join(r.first(recordHeader, &h), r.first(recordChain, &c)); err != nil {
		return snapshotHead{}, err
	}
	if c.Chain.Index != h.Applied {
		return snapshotHead{}, corrupt("the snapshot's state is that of entry %d, its chain that of %d",
			h.Applied, c.Chain.Index)
	}
	head := snapshotHead{header: h, chain: c.Chain, points: c.Points, covers: c.Covers}
	// The log may start right after the snapshot, so that this is the only point to start from.
	if n := len(head.points); n == 0 || head.points[n-1].Index < c.Chain.Index {
		head.points = append(head.points, c.Chain)
	}
	return head, nil
}

func (r *recordReader) raw(n int) ([]byte, error) {
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	if _, err := io.ReadFull(r.from, b); err != nil {
		return nil, corrupt("the snapshot ends early, after %d records: %s", r.count, err.Error())
	}
	_, _ = r.sum.Write(b)
	return b, nil
}

func (r *recordReader) magic() error {
	b, err := r.raw(snapshotHeadBytes)
	if err != nil {
		return err
	}
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return corrupt("a snapshot starts with %q, not %q", snapshotMagic, b[:len(snapshotMagic)])
	}
	if v := binary.LittleEndian.Uint16(b[len(snapshotMagic):]); v > snapshotVersion {
		return &UnknownError{What: fmt.Sprintf("a snapshot of version %d, of %d that there are,", v, snapshotVersion)}
	}
	return nil
}

// record is the next record. Its bytes are good until the next call.
func (r *recordReader) record() (recordKind, []byte, error) {
	head, err := r.raw(recordHeadBytes)
	if err != nil {
		return 0, nil, err
	}
	k, n := recordKind(head[0]), binary.LittleEndian.Uint32(head[1:])
	if n > maxRecordBytes {
		return 0, nil, corrupt("record %d of the snapshot declares %d bytes, more than %d", r.count, n, maxRecordBytes)
	}
	b, err := r.raw(int(n))
	r.count++
	return k, b, err
}

func (r *recordReader) first(want recordKind, v any) error {
	k, b, err := r.record()
	if err != nil {
		return err
	}
	if k != want {
		return corrupt("the snapshot has a record of kind %d where %d must be", k, want)
	}
	return wire.Unmarshal(b, v)
}

func (r *recordReader) records(into state.Records) error {
	for {
		k, b, err := r.record()
		if err != nil {
			return err
		}
		switch k {
		case recordNode:
			err = load(b, into.Node)
		case recordExtent:
			err = load(b, into.Extent)
		case recordOp:
			err = load(b, into.Op)
		case recordSession:
			err = load(b, into.Session)
		case recordPolicy:
			err = load(b, into.Policy)
		case recordHoles:
			err = load(b, into.Holes)
		case recordEnd:
			return r.end(b)
		default:
			err = &UnknownError{What: "a snapshot record of an unknown kind"}
		}
		if err != nil {
			return err
		}
	}
}

func load[T any](b []byte, put func(*T) error) error {
	v := new(T)
	if err := wire.Unmarshal(b, v); err != nil {
		return err
	}
	return put(v)
}

// end checks the count and the sum, and that nothing follows.
func (r *recordReader) end(b []byte) error {
	if len(b) != 8 || binary.LittleEndian.Uint64(b) != r.count-1 {
		return corrupt("the snapshot's end does not count the %d records before it", r.count-1)
	}
	want := r.sum.Sum(nil)
	got, err := r.raw(len(want))
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return corrupt("the snapshot's checksum is %x, want %x", got, want)
	}
	if _, err := r.from.ReadByte(); err != io.EOF {
		return corrupt("bytes follow the snapshot")
	}
	return nil
}
