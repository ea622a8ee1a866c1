package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// The msgpack heads that a body is written with.
const (
	arrayOfTwo = 0x92
	array32    = 0xdd
)

// unknownCommandError names a command type that state does not have.
type unknownCommandError struct{ t state.CommandType }

func (e *unknownCommandError) Error() string { return fmt.Sprintf("a command of type %d", uint8(e.t)) }

// rawCommand is an element of a body: [type, command].
type rawCommand struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Type uint8
	Body msgpack.RawMessage
}

// appendCommand appends one element of a body.
func appendCommand(buf []byte, c state.Command) ([]byte, error) {
	buf = append(buf, arrayOfTwo)
	buf = wire.AppendUint(buf, uint64(c.CommandType()))
	return wire.AppendMarshal(buf, c)
}

// appendBodyHead appends the array head that n elements follow.
func appendBodyHead(buf []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(buf, array32), uint32(n))
}

// AppendCommands appends the body of an entry that holds commands.
func AppendCommands(buf []byte, commands []state.Command) ([]byte, error) {
	buf = appendBodyHead(buf, len(commands))
	for _, c := range commands {
		var err error
		if buf, err = appendCommand(buf, c); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// ParseCommands reads a whole body.
func ParseCommands(body []byte) ([]state.Command, error) {
	var few [8]rawCommand
	raw, ok := splitBody(few[:0], body)
	if !ok {
		if err := wire.Unmarshal(body, &raw); err != nil {
			return nil, corrupt("%s", err.Error())
		}
	}
	commands := make([]state.Command, len(raw))
	for i, r := range raw {
		c := state.NewCommand(state.CommandType(r.Type))
		if c == nil {
			return nil, &unknownCommandError{state.CommandType(r.Type)}
		}
		if err := wire.Unmarshal(r.Body, c); err != nil {
			return nil, corrupt("command %d: %s", i, err.Error())
		}
		commands[i] = c
	}
	return commands, nil
}

// splitBody appends the elements of a body that is as AppendCommands makes them; false for any other, which the codec
// judges. They alias body.
func splitBody(all []rawCommand, body []byte) (_ []rawCommand, ok bool) {
	if len(body) < 5 || body[0] != array32 {
		return nil, false
	}
	n, body := binary.BigEndian.Uint32(body[1:]), body[5:]
	for range n {
		if len(body) == 0 || body[0] != arrayOfTwo {
			return nil, false
		}
		rest, t, ok := wire.ParseUint(body[1:])
		after, err := wire.ScanOne(rest)
		if !ok || t > math.MaxUint8 || err != nil {
			return nil, false
		}
		all = append(all, rawCommand{Type: uint8(t), Body: rest[:len(rest)-len(after)]})
		body = after
	}
	return all, len(body) == 0
}

// readEntry is what a log record of this group holds. skip is true for one that is unknown and
// may be ignored.
func readEntry(index state.Index, data []byte) (e Entry, commands []state.Command, skip bool, err error) {
	rest, e, err := ParseEntry(data)
	if err == nil && len(rest) != 0 {
		err = corrupt("%d bytes follow it", len(rest))
	}
	if err == nil && e.Group != cellGroup {
		err = corrupt("it belongs to group %d, want %d", e.Group, cellGroup)
	}
	if err != nil {
		return e, nil, false, atIndex(index, err)
	}
	if !e.known() {
		err = &UnknownError{Index: index, What: fmt.Sprintf("type %d of version %d", e.Type, e.Version)}
	} else if commands, err = ParseCommands(e.Body); err != nil {
		err = atIndex(index, err)
	}
	if unknown := (*UnknownError)(nil); errors.As(err, &unknown) && e.Ignorable {
		return e, nil, true, nil
	}
	return e, commands, false, err
}

// atIndex says in which entry something was found.
func atIndex(index state.Index, err error) error {
	var bad *CorruptError
	var unknown *unknownCommandError
	switch {
	case errors.As(err, &bad):
		return &CorruptError{Index: index, Detail: bad.Detail}
	case errors.As(err, &unknown):
		return &UnknownError{Index: index, What: unknown.Error()}
	}
	return err
}
