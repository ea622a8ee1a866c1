package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
)

// parseRecord reads a record as the store has written it. A name in it that is damaged would be skipped, and its field
// left out, so that the record is written again and has to come to the same bytes. The answer may alias b.
func parseRecord(b []byte) (l *raft.Log, err error) {
	if l := parsePlain(b); l != nil {
		return l, nil
	}
	b = bytes.Clone(b) // the codec aliases it or not, as it likes
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it cannot be decoded: %v", r)
		}
	}()
	l = new(raft.Log)
	if err := codec.NewDecoderBytes(b, &codec.MsgpackHandle{}).Decode(l); err != nil {
		return nil, fmt.Errorf("it cannot be decoded: %w", err)
	}
	again := make([]byte, 0, len(b))
	old := &codec.MsgpackHandle{BasicHandle: codec.BasicHandle{TimeNotBuiltin: true}}
	if err := codec.NewEncoderBytes(&again, old).Encode(l); err != nil {
		return nil, fmt.Errorf("it cannot be encoded again: %w", err)
	}
	if !bytes.Equal(again, b) {
		return nil, errors.New("its frame is not as it was written")
	}
	return l, nil
}

// parsePlain reads a record that is byte for byte as the store writes them today, in a fraction of the time that the
// codec takes; nil for any other. What it answers aliases b.
func parsePlain(b []byte) *raft.Log {
	p := plain{b: b, ok: true}
	l := new(raft.Log)
	p.literal("\x86\xaaAppendedAt")
	at := p.raw()
	if !p.ok || len(at) != 15 || binary.BigEndian.Uint32(at[9:]) >= 1e9 || l.AppendedAt.UnmarshalBinary(at) != nil {
		return nil
	}
	p.literal("\xa4Data")
	l.Data = p.raw()
	p.literal("\xaaExtensions")
	l.Extensions = p.raw()
	p.literal("\xa5Index")
	l.Index = p.uint()
	p.literal("\xa4Term")
	l.Term = p.uint()
	p.literal("\xa4Type")
	kind := p.uint()
	l.Type = raft.LogType(kind)
	if !p.ok || len(p.b) != 0 || kind > 0x7f {
		return nil
	}
	return l
}

// plain is msgpack of which there is one way to write each value. Once something is not as it should be, ok is false.
type plain struct {
	b  []byte
	ok bool
}

// take is the next n bytes.
func (p *plain) take(n int) []byte {
	if !p.ok || n < 0 || n > len(p.b) {
		p.ok = false
		return make([]byte, 8)
	}
	out := p.b[:n:n]
	p.b = p.b[n:]
	return out
}

func (p *plain) literal(s string) {
	if string(p.take(len(s))) != s {
		p.ok = false
	}
}

// raw is a string of bytes, or nil.
func (p *plain) raw() []byte {
	n, least := 0, 0
	switch tag := p.take(1)[0]; {
	case tag == 0xc0:
		return nil
	case tag >= 0xa0 && tag <= 0xbf:
		n = int(tag & 0x1f)
	case tag == 0xda:
		n, least = int(binary.BigEndian.Uint16(p.take(2))), 1<<5
	case tag == 0xdb:
		n, least = int(binary.BigEndian.Uint32(p.take(4))), 1<<16
	default:
		p.ok = false
	}
	if n < least {
		p.ok = false
	}
	return p.take(n)
}

func (p *plain) uint() uint64 {
	n, least := uint64(0), uint64(0)
	switch tag := p.take(1)[0]; {
	case tag <= 0x7f:
		n = uint64(tag)
	case tag == 0xcc:
		n, least = uint64(p.take(1)[0]), 1<<7
	case tag == 0xcd:
		n, least = uint64(binary.BigEndian.Uint16(p.take(2))), 1<<8
	case tag == 0xce:
		n, least = uint64(binary.BigEndian.Uint32(p.take(4))), 1<<16
	case tag == 0xcf:
		n, least = binary.BigEndian.Uint64(p.take(8)), 1<<32
	default:
		p.ok = false
	}
	if n < least {
		p.ok = false
	}
	return n
}
