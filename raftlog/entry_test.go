package raftlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

func genCommand() *rapid.Generator[state.Command] {
	node := rapid.Map(rapid.StringMatching(`n[1-9]`), func(s string) state.NodeID { return state.NodeID(s) })
	return rapid.Custom(func(t *rapid.T) state.Command {
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return &state.Join{Node: node.Draw(t, "node"), Addr: rapid.String().Draw(t, "addr"),
				Incarnation: rapid.Uint64().Draw(t, "inc")}
		case 1:
			return &state.Set{Key: rapid.String().Draw(t, "key"), Value: rapid.String().Draw(t, "value")}
		case 2:
			return &state.Start{Op: state.OpID(rapid.Uint64().Draw(t, "op")), Source: node.Draw(t, "source"),
				Target: node.Draw(t, "target")}
		case 3:
			return &state.RollbackPolicy{}
		}
		a := &state.Admit{Kind: policies.KindRepair, Extent: state.ExtentID(rapid.Uint64().Draw(t, "extent"))}
		a.Decision = state.Decision{
			Policy: rapid.String().Draw(t, "policy"), Priority: rapid.Int32().Draw(t, "priority"),
			Facts: policies.Facts{Extent: rapid.Uint64().Draw(t, "fact"), NowMicros: rapid.Int64().Draw(t, "now")},
		}
		for range rapid.IntRange(0, 3).Draw(t, "conflicts") {
			a.Decision.Conflicts = append(a.Decision.Conflicts,
				state.Conflict{With: state.OpID(rapid.Uint64().Draw(t, "with")), Final: policies.Wait})
		}
		for range rapid.IntRange(0, 3).Draw(t, "replicas") {
			a.Replicas = append(a.Replicas, node.Draw(t, "replica"))
		}
		return a
	})
}

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commands := rapid.SliceOfN(genCommand(), 0, 8).Draw(t, "commands")
		body, err := AppendCommands(nil, commands)
		if err != nil {
			t.Fatal(err)
		}
		in := Entry{
			Version: rapid.Uint8Min(1).Draw(t, "version"), Type: EntryType(rapid.Uint8().Draw(t, "type")),
			Ignorable: rapid.Bool().Draw(t, "ignorable"), Group: GroupID(rapid.Uint64().Draw(t, "group")),
			Micros: state.Micros(rapid.Int64().Draw(t, "micros")), Body: body,
		}
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "prefix")
		tail := rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "tail")
		buf := append(AppendEntry(bytes.Clone(prefix), in), tail...)
		rest, out, err := ParseEntry(buf[len(prefix):])
		if err != nil || !bytes.Equal(rest, tail) || !reflect.DeepEqual(in, out) {
			t.Fatalf("parsed %+v, rest %x, err %v; want %+v, rest %x", out, rest, err, in, tail)
		}
		back, err := ParseCommands(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		if len(back) != len(commands) || (len(back) > 0 && !reflect.DeepEqual(back, commands)) {
			t.Fatalf("commands %+v, want %+v", back, commands)
		}
	})
}

func TestAnyFlippedBitIsFound(t *testing.T) {
	body, err := AppendCommands(nil, []state.Command{join("n7")})
	if err != nil {
		t.Fatal(err)
	}
	whole := AppendEntry(nil, Entry{Type: EntryCommands, Group: cellGroup, Micros: 17, Body: body})
	for bit := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if _, _, err := ParseEntry(b); err == nil {
			t.Errorf("bit %d of byte %d flipped, not noticed", bit%8, bit/8)
		}
	}
	for n := range len(whole) {
		if _, _, err := ParseEntry(whole[:n]); err == nil {
			t.Errorf("cut to %d bytes, not noticed", n)
		}
	}
}

// TestEntryFormat pins the format. Where an encode case fails, old logs cannot be read any more.
func TestEntryFormat(t *testing.T) {
	datadriven.RunTest(t, filepath.Join("testdata", "entry"), func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "encode":
			var micros int64
			d.ScanArgs(t, "micros", &micros)
			body, err := AppendCommands(nil, parseText(t, d.Input))
			if err != nil {
				t.Fatal(err)
			}
			return hex.Dump(AppendEntry(nil, Entry{
				Type: EntryCommands, Ignorable: d.HasArg("ignorable"), Group: cellGroup, Micros: state.Micros(micros), Body: body,
			}))
		case "decode":
			b, err := hex.DecodeString(strings.Join(strings.Fields(d.Input), ""))
			if err != nil {
				t.Fatal(err)
			}
			_, commands, skip, err := readEntry(1, b)
			out := fmt.Sprintf("skip=%t err=%v\n", skip, err)
			for _, c := range commands {
				out += c.CommandType().String() + "\n"
			}
			return out
		}
		t.Fatalf("unknown command %s", d.Cmd)
		return ""
	})
}

// parseText reads commands, one a line, as the cases write them.
func parseText(t *testing.T, in string) []state.Command {
	var commands []state.Command
	for line := range strings.Lines(in) {
		f := strings.Fields(line)
		switch f[0] {
		case "genesis":
			commands = append(commands, &state.Genesis{Cell: f[1]})
		case "join":
			commands = append(commands, &state.Join{Node: state.NodeID(f[1]), Addr: f[2], Voter: len(f) > 3})
		case "set":
			commands = append(commands, &state.Set{Key: f[1], Value: f[2]})
		case "load":
			commands = append(commands, quietHours())
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	return commands
}

func TestUnknownEntries(t *testing.T) {
	plain := appendBodyHead(nil, 0)
	foreign := append(appendBodyHead(nil, 1), 0x92, 0xcc, 0xc8, 0x90) // type 200
	cases := []struct {
		name string
		e    Entry
		skip bool
		want string
	}{
		{"of this version", Entry{Type: EntryCommands, Group: cellGroup, Body: plain}, false, ""},
		{"of a later version", Entry{Version: 77, Type: EntryCommands, Group: cellGroup, Body: []byte("?")}, false,
			"type 1 of version 77"},
		{"of a later version, ignorable", Entry{Version: 77, Type: EntryCommands, Group: cellGroup, Ignorable: true,
			Body: []byte("?")}, true, ""},
		{"of another type", Entry{Type: 9, Group: cellGroup}, false, "type 9 of version 1"},
		{"of another type, ignorable", Entry{Type: 9, Group: cellGroup, Ignorable: true}, true, ""},
		{"with a new command", Entry{Type: EntryCommands, Group: cellGroup, Body: foreign}, false, "a command of type 200"},
		{"with a new command, ignorable", Entry{Type: EntryCommands, Group: cellGroup, Ignorable: true, Body: foreign}, true,
			""},
		{"corrupt, ignorable", Entry{Type: EntryCommands, Group: cellGroup, Ignorable: true, Body: []byte{0xc1}}, false,
			"corrupt"},
		{"of another group", Entry{Type: EntryCommands, Group: 2, Body: plain}, false, "group 2"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, skip, err := readEntry(41, AppendEntry(nil, c.e))
			if skip != c.skip || (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("skip %t, err %v; want skip %t, %q", skip, err, c.skip, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), "41") {
				t.Errorf("%q does not name the entry", err)
			}
		})
	}
}

func FuzzParseEntry(f *testing.F) {
	body, _ := AppendCommands(nil, []state.Command{join("n1"), &state.RollbackPolicy{}})
	f.Add(AppendEntry(nil, Entry{Type: EntryCommands, Group: cellGroup, Micros: 1, Body: body}))
	f.Add(AppendEntry(nil, Entry{Type: 2, Ignorable: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, e, err := ParseEntry(b)
		if err != nil {
			if c := (*CorruptError)(nil); !errors.As(err, &c) {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		// Flags that nobody has defined yet do not survive; everything else does.
		if again := AppendEntry(nil, e); e.Version != 0 && len(again) != len(b)-len(rest) {
			t.Fatalf("%d bytes came back as %d", len(b)-len(rest), len(again))
		}
	})
}

func FuzzParseCommands(f *testing.F) {
	for _, commands := range [][]state.Command{nil, {join("n1")},
		{&state.Set{Key: "a"}, &state.Finish{Confirmed: []state.NodeID{"n1"}}}, {quietHours()}} {
		body, err := AppendCommands(nil, commands)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		commands, err := ParseCommands(b)
		if err != nil {
			return
		}
		body, err := AppendCommands(nil, commands)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseCommands(body)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := AppendCommands(nil, again); err != nil || !bytes.Equal(twice, body) {
			t.Fatalf("%x came back as %x, %v", body, twice, err)
		}
	})
}

// What a command has beyond the fields that this build knows is left out when it is encoded again: nothing comes into
// the log that the leader has not understood.
func TestUnknownFieldsAreNotPassedOn(t *testing.T) {
	want, err := AppendCommands(nil, []state.Command{&state.Gone{Extent: 7, Node: "n1", Since: 9}})
	if err != nil {
		t.Fatal(err)
	}
	const arrayOfThree = 0x93
	at := bytes.LastIndexByte(want, arrayOfThree)
	if at < 0 {
		t.Fatalf("no array of three fields in % x", want)
	}
	longer := append(bytes.Clone(want), 1) // a fourth, of another build
	longer[at]++
	cmds, err := ParseCommands(longer)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := AppendCommands(nil, cmds); err != nil || !bytes.Equal(got, want) {
		t.Errorf("encoded again as % x, %v, want % x", got, err, want)
	}
}
