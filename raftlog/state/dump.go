package state

import "slices"

// Header is the part of a snapshot that is not a record of something.
type Header struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Applied     Index
	NowMicros   Micros
	Cell        string
	NextExtent  ExtentID
	PolicyEpoch uint64
	Active      string
	Previous    string
	Settings    Settings
	Level       Level
	Era         Index
}

// Records are what a snapshot consists of, in the order of the fields. yield functions answer an
// error to stop.
type Records struct {
	Node    func(*Node) error
	Extent  func(*Extent) error
	Op      func(*Op) error
	Session func(*Session) error
	Policy  func(*LoadPolicy) error
	Holes   func(*Holes) error
}

// Header is the header of the view's snapshot.
func (v *View) Header() Header {
	return Header{
		Applied: v.Applied, NowMicros: v.NowMicros, Cell: v.Cell, NextExtent: v.NextExtent,
		PolicyEpoch: v.PolicyEpoch, Active: v.Active, Previous: v.Previous, Settings: v.Settings,
		Level: v.Level, Era: v.Era,
	}
}

// Dump hands every record to w, kind by kind, each by rising ID. The indexes are not dumped: they
// follow from the records.
func (v *View) Dump(w Records) error {
	var err error
	v.nodes.Scan(func(_ NodeID, n *Node) bool { err = w.Node(n); return err == nil })
	if err != nil {
		return err
	}
	v.extents.Scan(func(_ ExtentID, e *Extent) bool { err = w.Extent(e); return err == nil })
	if err != nil {
		return err
	}
	v.ops.Scan(func(_ OpID, o *Op) bool { err = w.Op(o); return err == nil })
	if err != nil {
		return err
	}
	v.sessions.Scan(func(_ SessionID, s *Session) bool { err = w.Session(s); return err == nil })
	if err != nil {
		return err
	}
	v.loaded.Scan(func(_ string, p *LoadPolicy) bool { err = w.Policy(p); return err == nil })
	if err != nil {
		return err
	}
	return v.eachHoles(w.Holes)
}

// restored is a copy that does not share room to append with the state that it was dumped from.
func (ses *Session) restored() *Session {
	c := *ses
	c.Answers = slices.Clip(c.Answers)
	return &c
}

// Restore starts a state from a snapshot's header. The records follow, through the methods of the
// returned loader: extents before the operations on them, else in any order.
func Restore(h Header) (*State, Records) {
	s := New()
	s.Applied, s.NowMicros, s.Cell, s.NextExtent = h.Applied, h.NowMicros, h.Cell, h.NextExtent
	s.PolicyEpoch, s.Active, s.Previous, s.Settings = h.PolicyEpoch, h.Active, h.Previous, h.Settings.orDefault()
	s.Level, s.Era = max(h.Level, LevelFirst), h.Era
	return s, Records{
		Node:    func(n *Node) error { s.nodes.Set(n.ID, n); return nil },
		Extent:  func(e *Extent) error { s.putExtent(e); return nil },
		Op:      func(o *Op) error { s.putOp(o); return nil },
		Session: func(ses *Session) error { s.putSession(ses.restored()); return nil },
		Policy:  func(p *LoadPolicy) error { s.loaded.Set(p.Digest, p); return nil },
		Holes:   s.restoreHoles,
	}
}
