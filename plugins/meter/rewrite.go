package meter

import "encoding/binary"

const (
	typeI32    = 0x7f
	typeI64    = 0x7e
	blockEmpty = 0x40
)

// rewrite gives the module with what it counts by added.
func (m *module) rewrite() []byte {
	m.payForLeaves()
	out := make([]byte, 0, len(m.bytes)+len(m.bytes)/2)
	out = append(out, m.bytes[:headerBytes]...)
	for _, id := range order {
		s := m.section[id]
		switch {
		case id == secGlobal:
			out = appendSection(out, id, m.globalSection())
		case id == secExport:
			out = appendSection(out, id, m.exportSection())
		case id == secCode && s.present:
			out = appendSection(out, id, m.codeSection())
		case s.present:
			out = appendSection(out, id, m.bytes[s.from:s.to])
		}
	}
	return out
}

// payForLeaves adds to each point the leaves that are called where it pays.
func (m *module) payForLeaves() {
	for i := range m.bodies {
		f := &m.bodies[i]
		for _, c := range f.calls {
			if c.callee >= 0 && m.bodies[c.callee].leaf {
				f.points[c.point].cost += m.bodies[c.callee].points[0].cost
			}
		}
	}
}

func appendSection(out []byte, id byte, body []byte) []byte {
	out = binary.AppendUvarint(append(out, id), uint64(len(body)))
	return append(out, body...)
}

func (m *module) globalSection() []byte {
	s := m.section[secGlobal]
	out := binary.AppendUvarint(nil, uint64(m.defined+1))
	out = append(out, m.bytes[s.from:s.to]...)
	return append(out, typeI64, 1, opI64Const, 0, opEnd)
}

func (m *module) exportSection() []byte {
	s := m.section[secExport]
	out := binary.AppendUvarint(nil, uint64(m.exports+1))
	out = append(out, m.bytes[s.from:s.to]...)
	out = append(binary.AppendUvarint(out, uint64(len(Export))), Export...)
	return binary.AppendUvarint(append(out, externGlobal), uint64(m.globals))
}

func (m *module) codeSection() []byte {
	out := make([]byte, 0, len(m.bytes)+len(m.bytes)/2)
	out = binary.AppendUvarint(out, uint64(len(m.bodies)))
	var body []byte
	for i := range m.bodies {
		body = m.appendBody(body[:0], &m.bodies[i])
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	return out
}

// appendBody appends a body with its charges. They use two locals behind all others: an i64 for what
// is left, and an i32 for the operand that tells a cost.
func (m *module) appendBody(out []byte, f *function) []byte {
	if f.leaf {
		return append(out, m.bytes[f.start:f.code.to]...)
	}
	added := 1
	if f.sized > 0 {
		added = 2
	}
	out = binary.AppendUvarint(out, uint64(f.groups+added))
	out = append(out, m.bytes[f.decls.from:f.decls.to]...)
	out = append(out, 1, typeI64)
	if f.sized > 0 {
		out = append(out, 1, typeI32)
	}
	from := f.code.from
	for _, p := range f.points {
		out = append(out, m.bytes[from:p.at]...)
		from = p.at
		out = m.appendCharge(out, f, p)
	}
	return append(out, m.bytes[from:f.code.to]...)
}

func (m *module) appendCharge(out []byte, f *function, p point) []byte {
	left, operand := uint64(f.locals), uint64(f.locals)+1
	if p.sized {
		out = appendIndexed(out, opLocalTee, operand)
	}
	out = appendIndexed(out, opGlobalGet, uint64(m.globals))
	if p.sized {
		out = appendIndexed(out, opLocalGet, operand)
		out = append(out, opI64ExtendU)
		if p.left > 0 {
			out = append(out, opI64Const, p.left, opI64Shl)
		}
		if p.right > 0 {
			out = append(out, opI64Const, p.right, opI64ShrU)
		}
	} else {
		out = appendSigned(append(out, opI64Const), p.cost)
	}
	out = appendIndexed(append(out, opI64Sub), opLocalTee, left)
	out = appendIndexed(out, opGlobalSet, uint64(m.globals))
	out = appendIndexed(out, opLocalGet, left)
	return append(out, opI64Const, 0, opI64LtS, opIf, blockEmpty, opUnreachable, opEnd)
}

func appendIndexed(out []byte, op byte, index uint64) []byte {
	return binary.AppendUvarint(append(out, op), index)
}

// appendSigned appends a signed LEB128 number that is not negative.
func appendSigned(out []byte, n int64) []byte {
	for n >= 0x40 {
		out = append(out, byte(n)|0x80)
		n >>= 7
	}
	return append(out, byte(n))
}
