package plugins

import (
	"encoding/hex"
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
)

// goldenFacts has a value of its own in each field.
var goldenFacts = policies.Facts{
	OpIndex: 0x0102030405060708, Extent: 0x1112131415161718, LengthBytes: 0x2122232425262728,
	NowMicros: 0x3132333435363738, WaitingMicros: -2, OpPlace: 0x41424344, QueuedOps: 0x51525354,
	RunningOps: 0x61626364, RunningSame: 0x71727374, Kind: 3, Phase: 2, Origin: 1, Attempts: 0x84,
	ExtentOpen: true, LiveReplicas: 0x85, WantReplicas: 0x86,
	Class: [16]byte{'g', 'o', 'l', 'd', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'z'},
}

const goldenFactsHex = "0807060504030201" + "1817161514131211" + "2827262524232221" + "3837363534333231" +
	"feffffffffffffff" + "44434241" + "54535251" + "64636261" + "74737271" + "03020184" + "01858600" +
	"676f6c640000000000000000000000" + "7a"

// These bytes are a contract with every policy that has ever been built: they never change.
func TestGoldenRecords(t *testing.T) {
	for name, c := range map[string]struct {
		have []byte
		want string
	}{
		"score header": {appendHeader(nil, scoreHeader(3)),
			"0100" + "1800" + "50000000" + "03000000" + "50000000" + "08000000" + "00000000"},
		"conflict header": {appendHeader(nil, conflictHeader(256)),
			"0100" + "1800" + "a8000000" + "00010000" + "50000000" + "08000000" + "00000000"},
		"facts": {AppendFacts(nil, &goldenFacts), goldenFactsHex},
		"pair": {AppendPair(nil, &policies.Pair{Existing: goldenFacts, Incoming: goldenFacts, SameNode: true}),
			"0100000000000000" + goldenFactsHex + goldenFactsHex},
		"score": {AppendScore(nil, policies.Score{Priority: -2, Reason: 0x0102}), "feffffff" + "0201" + "0000"},
		"resolution": {AppendResolution(nil, policies.Resolution{Verdict: policies.Reject, Reason: 0x0102}),
			"05" + "00" + "0201" + "00000000"},
	} {
		if have := hex.EncodeToString(c.have); have != c.want {
			t.Errorf("%s\nhave %s\nwant %s", name, have, c.want)
		}
	}
}

func TestRecordsParseBack(t *testing.T) {
	g := policytest.NewGenerator(2)
	for range 10_000 {
		p := g.Pair()
		rest, have, err := ParsePair(append(AppendPair(nil, &p), 0xee))
		if err != nil || have != p || len(rest) != 1 {
			t.Fatalf("%+v came back as %+v, %v, %d bytes left", p, have, err, len(rest))
		}
	}
}

func TestParseRefuses(t *testing.T) {
	change := func(buf []byte, at int, to byte) []byte { buf[at] = to; return buf }
	facts := func() []byte { return AppendFacts(nil, &goldenFacts) }
	header := func() []byte { return appendHeader(nil, scoreHeader(3)) }
	for name, parse := range map[string]func() error{
		"facts cut":         func() error { _, _, err := ParseFacts(facts()[:factsBytes-1]); return err },
		"facts open 2":      func() error { _, _, err := ParseFacts(change(facts(), 60, 2)); return err },
		"facts padding":     func() error { _, _, err := ParseFacts(change(facts(), 63, 1)); return err },
		"pair cut":          func() error { _, _, err := ParsePair(make([]byte, pairBytes-1)); return err },
		"pair same node 2":  func() error { _, _, err := ParsePair(change(make([]byte, pairBytes), 0, 2)); return err },
		"pair padding":      func() error { _, _, err := ParsePair(change(make([]byte, pairBytes), 7, 1)); return err },
		"score cut":         func() error { _, _, err := ParseScore(make([]byte, 7)); return err },
		"score padding":     func() error { _, _, err := ParseScore(change(make([]byte, 8), 6, 1)); return err },
		"no verdict":        func() error { _, _, err := ParseResolution(make([]byte, 8)); return err },
		"verdict 6":         func() error { _, _, err := ParseResolution(change(make([]byte, 8), 0, 6)); return err },
		"verdict padding":   func() error { _, _, err := ParseResolution([]byte{1, 1, 0, 0, 0, 0, 0, 0}); return err },
		"verdict padding 7": func() error { _, _, err := ParseResolution([]byte{1, 0, 0, 0, 0, 0, 0, 1}); return err },
		"header cut":        func() error { _, _, err := parseHeader(header()[:23]); return err },
		"header version":    func() error { _, _, err := parseHeader(change(header(), 0, 2)); return err },
		"header too small":  func() error { _, _, err := parseHeader(change(header(), 2, 16)); return err },
		"header not there":  func() error { _, _, err := parseHeader(change(header(), 2, 25)); return err },
		"header facts":      func() error { _, _, err := parseHeader(change(header(), 12, 79)); return err },
		"header answers":    func() error { _, _, err := parseHeader(change(header(), 16, 7)); return err },
		"header no records": func() error { _, _, err := parseHeader(change(header(), 8, 0)); return err },
		"header many":       func() error { _, _, err := parseHeader(change(header(), 9, 2)); return err },
	} {
		if parse() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, h, err := parseHeader(header()); err != nil || h != scoreHeader(3) {
		t.Errorf("%+v, %v", h, err)
	}
}

// What parses must come out of the encoder as the same bytes.
func FuzzRecords(f *testing.F) {
	f.Add(AppendPair(nil, &policies.Pair{Existing: goldenFacts, Incoming: goldenFacts}))
	f.Add(AppendScore(nil, policies.Score{Priority: 5}))
	f.Add(AppendResolution(nil, policies.Resolution{Verdict: policies.Wait}))
	f.Fuzz(func(t *testing.T, buf []byte) {
		check := func(what string, rest []byte, err error, again []byte) {
			if err == nil && string(again) != string(buf[:len(buf)-len(rest)]) {
				t.Errorf("%s: %x was written as %x", what, buf, again)
			}
		}
		rest, pair, err := ParsePair(buf)
		check("pair", rest, err, AppendPair(nil, &pair))
		rest, facts, err := ParseFacts(buf)
		check("facts", rest, err, AppendFacts(nil, &facts))
		rest, score, err := ParseScore(buf)
		check("score", rest, err, AppendScore(nil, score))
		rest, resolution, err := ParseResolution(buf)
		check("resolution", rest, err, AppendResolution(nil, resolution))
	})
}
