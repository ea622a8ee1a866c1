package meter

import "encoding/binary"

// rewrite puts the module together again, with the global, its export and the new code.
func (m *module) rewrite() []byte {
	out := make([]byte, 0, len(m.bytes)+len(m.code))
	out = append(out, m.bytes[:headerBytes]...)
	for _, id := range order {
		s := m.section[id]
		switch {
		case id == secGlobal:
			out = appendSection(out, id, m.globalSection())
		case id == secExport:
			out = appendSection(out, id, m.exportSection())
		case id == secCode && s.present:
			out = appendSection(out, id, m.code)
		case s.present:
			out = appendSection(out, id, m.bytes[s.from:s.to])
		}
	}
	return out
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

// startCode begins the new code section, of n functions.
func (m *module) startCode(n int) {
	s := m.section[secCode]
	m.code = make([]byte, 0, s.to-s.from+(s.to-s.from)/8)
	m.code = binary.AppendUvarint(m.code, uint64(n))
}

// appendFunction adds what has been walked over to the new code section, with its charges. They use
// two locals behind all others: an i64 for what is left, and an i32 for the operand that tells a cost.
func (m *module) appendFunction(w *walker) {
	added := []byte{1, typeI64}
	if w.sized {
		added = append(added, 1, typeI32)
	}
	body := binary.AppendUvarint(m.body[:0], uint64(w.groups+len(added)/2))
	body = append(body, m.bytes[w.decls:w.code]...)
	body = append(body, added...)
	from := w.code
	for i := range w.points {
		p := &w.points[i]
		if w.reloads(p) {
			body = append(body, m.bytes[from:p.loop]...)
			from = p.loop
			body = appendIndexed(body, opGlobalGet, m.globals)
			body = appendIndexed(body, opLocalSet, w.locals)
		}
		body = append(body, m.bytes[from:p.at]...)
		from = p.at
		body = w.appendCharge(body, p, i > 0 && w.knows(p))
	}
	m.body = append(body, m.bytes[from:w.off]...)
	m.code = binary.AppendUvarint(m.code, uint64(len(m.body)))
	m.code = append(m.code, m.body...)
}

// knows reports whether the added local holds the same as the global when the point is reached. It
// does after every charge, until something is called.
func (w *walker) knows(p *point) bool {
	if p.sized {
		p = &w.points[p.outer]
	}
	return !p.calls
}

// reloads reports whether the local must be made to hold the same as the global before p: p is a
// loop without calls, and around it there are some.
func (w *walker) reloads(p *point) bool {
	return p.loop > 0 && !p.calls && w.points[p.outer].calls
}

// appendCharge appends the code that pays for p. In loops without calls the value of the last charge
// is taken from the local, or every round would wait for what the last one stored. The trap has a
// block of its own that is jumped to: engines then keep it out of the way of the code that goes on.
func (w *walker) appendCharge(out []byte, p *point, known bool) []byte {
	left, operand := w.locals, w.locals+1
	if p.sized {
		out = appendIndexed(out, opLocalTee, operand)
	}
	if known {
		out = appendIndexed(out, opLocalGet, left)
	} else {
		out = appendIndexed(out, opGlobalGet, w.m.globals)
	}
	if p.sized {
		out = appendIndexed(out, opLocalGet, operand)
		out = append(out, opI64ExtendU, opI64Const, p.shift, opI64Shl)
	} else {
		out = appendSigned(append(out, opI64Const), p.cost)
	}
	out = appendIndexed(append(out, opI64Sub), opLocalTee, left)
	out = appendIndexed(out, opGlobalSet, w.m.globals)
	out = append(out, opBlock, blockEmpty, opBlock, blockEmpty)
	out = appendIndexed(out, opLocalGet, left)
	return append(out, opI64Const, 0, opI64LtS, opBrIf, 0, opBr, 1, opEnd, opUnreachable, opEnd)
}

func appendIndexed(out []byte, op byte, index int) []byte {
	return binary.AppendUvarint(append(out, op), uint64(index))
}

// appendSigned appends a signed LEB128 number that is not negative.
func appendSigned(out []byte, n int64) []byte {
	for n >= 0x40 {
		out = append(out, byte(n)|0x80)
		n >>= 7
	}
	return append(out, byte(n))
}
