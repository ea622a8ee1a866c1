package meter

import (
	"encoding/binary"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// rewrite puts the module together again, with the global, its export and the new code.
func (m *module) rewrite() []byte {
	out := make([]byte, 0, len(m.bytes)+len(m.code))
	out = append(out, m.bytes[:len(wasm.Header)]...)
	for _, id := range wasm.Order {
		s := m.section[id]
		switch {
		case id == wasm.SecGlobal:
			out = appendSection(out, id, m.globalSection())
		case id == wasm.SecExport:
			out = appendSection(out, id, m.exportSection())
		case id == wasm.SecCode && s.present:
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
	s := m.section[wasm.SecGlobal]
	out := binary.AppendUvarint(nil, uint64(m.defined+1))
	out = append(out, m.bytes[s.from:s.to]...)
	return append(out, wasm.I64, 1, wasm.OpI64Const, 0, wasm.OpEnd)
}

func (m *module) exportSection() []byte {
	s := m.section[wasm.SecExport]
	out := binary.AppendUvarint(nil, uint64(m.exports+1))
	out = append(out, m.bytes[s.from:s.to]...)
	out = append(binary.AppendUvarint(out, uint64(len(Export))), Export...)
	return binary.AppendUvarint(append(out, wasm.ExternGlobal), uint64(m.globals))
}

// startCode begins the new code section, of n functions.
func (m *module) startCode(n int) {
	s := m.section[wasm.SecCode]
	m.code = make([]byte, 0, s.to-s.from+(s.to-s.from)/8)
	m.code = binary.AppendUvarint(m.code, uint64(n))
}

// appendFunction adds what has been walked over to the new code section, with its charges. They use
// two locals behind all others: an i64 for what is left, and an i32 for the operand that tells a cost.
func (m *module) appendFunction(w *walker) {
	added := []byte{1, wasm.I64}
	if w.sized {
		added = append(added, 1, wasm.I32)
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
			body = appendIndexed(body, wasm.OpGlobalGet, m.globals)
			body = appendIndexed(body, wasm.OpLocalSet, w.locals)
		}
		body = append(body, m.bytes[from:p.at]...)
		from = p.at
		body = w.appendCharge(body, p, i > 0 && w.knows(p))
	}
	m.body = append(body, m.bytes[from:w.Off]...)
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
		out = appendIndexed(out, wasm.OpLocalTee, operand)
	}
	if known {
		out = appendIndexed(out, wasm.OpLocalGet, left)
	} else {
		out = appendIndexed(out, wasm.OpGlobalGet, w.m.globals)
	}
	if p.sized {
		out = appendIndexed(out, wasm.OpLocalGet, operand)
		out = append(out, wasm.OpI64ExtendU, wasm.OpI64Const, p.shift, wasm.OpI64Shl)
	} else {
		out = appendSigned(append(out, wasm.OpI64Const), p.cost)
	}
	out = appendIndexed(append(out, wasm.OpI64Sub), wasm.OpLocalTee, left)
	out = appendIndexed(out, wasm.OpGlobalSet, w.m.globals)
	out = append(out, wasm.OpBlock, wasm.BlockEmpty, wasm.OpBlock, wasm.BlockEmpty)
	out = appendIndexed(out, wasm.OpLocalGet, left)
	return append(out, wasm.OpI64Const, 0, wasm.OpI64LtS, wasm.OpBrIf, 0, wasm.OpBr, 1, wasm.OpEnd, wasm.OpUnreachable,
		wasm.OpEnd)
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
