package plugins

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/internal/wasm"
	"github.com/datanode/datanode/policies"
)

// answersReason is code that gives the first answer a reason, at is where in an answer that stands.
func answersReason(at byte, reason int64) []byte {
	return cat([]byte{0x20, 2, 0x41}, sleb(reason), []byte{0x3b, 1, at}) // i32.store16
}

// A reason is one of those that the policy lists, or the module is refused.
func TestReasonsOutsideTheList(t *testing.T) {
	for where, h := range map[string]*Host{"child": newParent(t, Options{}), "this process": newHost(t, Options{})} {
		for name, want := range map[string]hostile{
			"score": {scoring(answersReason(4, 500)), WrongAnswer,
				"policy_score: answer: answer 0: reason 500, the description lists 0 to 1"},
			"conflict": {tiny(func(g *guestParts) { g.conflict = cat(waitAlways, answersReason(2, 900), returnN) }), WrongAnswer,
				"reason 900"},
			"next": {scoring(answersReason(4, 2)), WrongAnswer, "reason 2,"},
		} {
			_, err := h.Check(t.Context(), want.module)
			t.Logf("%s, %s: %v", where, name, err)
			checkRefused(t, err, want)
		}
		last := compile(t, h, tiny(func(g *guestParts) { g.score = cat(whenMagic(0, answersReason(4, 1)...), returnN) }))
		if err := askBoth(last, magicQueued); err != nil {
			t.Errorf("%s: the last reason of the list: %v", where, err)
		}
	}
}

// What an instance said and took must be the same in both engines, whatever it is that differs.
func TestEnginesDiffer(t *testing.T) {
	said := func(change func(*transcript)) *transcript {
		u := &transcript{description: []byte("{}"), started: 1, dearest: 1, memoryBytes: pageBytes}
		u.scores.out, u.scores.cost = []policies.Score{{Priority: 7}, {Reason: 1}}, 10
		u.scoresAgain.out, u.scoresAgain.cost = slices.Clone(u.scores.out), 11
		u.verdicts.out, u.verdicts.cost = []policies.Resolution{{Verdict: policies.Wait}}, 20
		u.again.out, u.again.cost = slices.Clone(u.verdicts.out), 21
		change(u)
		return u
	}
	first := said(func(*transcript) {})
	if err := first.differs(said(func(u *transcript) { u.scores.nanos, u.memoryBytes = 5, 2*pageBytes })); err != nil {
		t.Errorf("how long it took, or what it has as memory, is no difference: %v", err)
	}
	for want, change := range map[string]func(*transcript){
		"starting cost 1 units in the compiler's engine and 2 in the interpreter": func(u *transcript) { u.started++ },
		"scores cost 10 units in the compiler's engine and 11":                    func(u *transcript) { u.scores.cost++ },
		"shuffled scores cost 11 units in the compiler's engine and 12": func(u *transcript) {
			u.scoresAgain.cost++
		},
		"conflicts cost 20 units in the compiler's engine and 19":          func(u *transcript) { u.verdicts.cost-- },
		"shuffled conflicts cost 21 units in the compiler's engine and 22": func(u *transcript) { u.again.cost++ },
		"describes itself differently": func(u *transcript) {
			u.description = []byte("{ }")
		},
		"answers differently in compiler and interpreter": func(u *transcript) {
			u.scores.out[1].Reason = 0
		},
		"answers differently in compiler and interpreter: mind": func(u *transcript) {
			u.verdicts.out[0].Verdict = policies.Reject
		},
		"answers differently in compiler and interpreter: mind the bits": func(u *transcript) {
			u.scoresAgain.out[0].Priority++
		},
		"answers differently in compiler and interpreter: mind the bits of": func(u *transcript) {
			u.again.out[0].Reason++
		},
	} {
		if err := first.differs(said(change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want: ...%s...", err, want)
		}
	}
}

// What is shown of a policy's reasons is one line each, that shows all that it holds, and tells them apart.
func TestReasonsAreToBeRead(t *testing.T) {
	h := newHost(t, Options{})
	for reason, want := range map[string]string{
		`a repair`:        "",
		`an Übergröße 修復`: "",
		`gold`:            `reason 2 is "gold", as reason 1 is; want them all different`,
		`unspecified`:     `reason 2 is "unspecified", as reason 0 is`,
		`x\u202ey`:        `reason 2 is "x\u202ey", want one line`,
		`x\u200by`:        `reason 2 is "x\u200by", want one line`,
		`x\u2028y`:        `reason 2 is "x\u2028y", want one line`,
		`x\ud800y`:        `reason 2 is "x\ufffdy", want one line`,
		`x\u009by`:        `reason 2 is "x\u009by", want one line`,
		"x\xffy":          `reason 2 is "x\ufffdy", want one line`,
	} {
		_, err := h.Check(t.Context(),
			describes(fmt.Sprintf(`{"name":"a","version":"1","reasons":["unspecified","gold","%s"]}`, reason)))
		switch {
		case want != "":
			checkRefused(t, err, hostile{nil, DescribeInvalid, want})
		case err != nil:
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// What a policy counts in its trial is in the report, the same wherever it was compiled; what it counts after that is
// the module's.
func TestCountersOfTheTrial(t *testing.T) {
	module := tiny(func(g *guestParts) {
		g.types = [][]byte{funcType(i32+i32+i64, "")}
		g.imports = [][]byte{importFunc(moduleHost, "counter_add", len(guestTypes))}
		// the word "name" of its description
		g.score = cat([]byte{0x41, 18, 0x41, 4, wasm.OpI64Const, 3, wasm.OpCall, 0}, returnN)
	})
	dir := t.TempDir()
	for _, where := range []string{"child", "this process", "cache", "cache"} {
		var h *Host
		switch where {
		case "child":
			h = newParent(t, Options{})
		case "this process":
			h = newHost(t, Options{})
		case "cache":
			h = newHost(t, Options{CacheDir: dir})
		}
		m := compile(t, h, module)
		if have := m.Report().Counters; len(have) != 1 || have["name"] != 2*3 {
			t.Errorf("%s: in its trial it counted %v, want 3 in each of two batches", where, have)
		}
		if have := m.Counters(); len(have) != 0 {
			t.Errorf("%s: before it is asked it has counted %v", where, have)
		}
		if err := askBoth(m, 1); err != nil {
			t.Fatal(err)
		}
		if have := m.Counters(); len(have) != 1 || have["name"] != 3 {
			t.Errorf("%s: asked once it has counted %v", where, have)
		}
	}
}
