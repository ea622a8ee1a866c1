package state_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// Older builds know neither quotas nor whose an extent is, and would admit what this one refuses.
func TestQuotaLevels(t *testing.T) {
	for _, c := range []state.Command{
		&state.Set{Key: "quotas", Value: "none"},
		&state.Admit{Kind: policies.KindCreate, Owner: "client/backup"},
	} {
		if got := state.LevelOf([]state.Command{c}); got != state.LevelNamed {
			t.Errorf("%+v is of level %d, want %d", c, got, state.LevelNamed)
		}
	}
}

// Older builds know no pace of copies.
func TestCopyPaceLevel(t *testing.T) {
	if got := state.LevelOf([]state.Command{&state.Set{Key: "copy-pace", Value: "1Mi"}}); got != state.LevelPaced {
		t.Errorf("the setting is of level %d, want %d", got, state.LevelPaced)
	}
}

// What the setting prints, it takes, and makes the same quotas of it.
func TestQuotasAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var words []string
		for i := range rapid.IntRange(1, 5).Draw(t, "quotas") {
			class := rapid.StringMatching(`[ -~]{0,12}`).Draw(t, "class")
			word := fmt.Sprintf("class=%q", fmt.Sprintf("%d%s", i, class))
			if rapid.Bool().Draw(t, "identity") {
				word = fmt.Sprintf("identity=%q", fmt.Sprintf("client/%d%s", i, class))
			}
			words = append(words, fmt.Sprintf("%s bytes=%d", word, rapid.Uint64Range(0, state.Unbounded-1).Draw(t, "bytes")))
		}
		first, err := state.DefaultSettings().With("quotas", strings.Join(words, ";"))
		if err != nil {
			t.Fatal(err)
		}
		printed := ""
		first.Each(func(key, value, _ string) {
			if key == "quotas" {
				printed = value
			}
		})
		again, err := state.DefaultSettings().With("quotas", printed)
		if err != nil || !reflect.DeepEqual(again, first) {
			t.Fatalf("%s: %v, %+v; want %+v", printed, err, again.Quotas, first.Quotas)
		}
	})
}

// However long the text, it ends: with as many quotas as there may be, or with an error.
func FuzzQuotas(f *testing.F) {
	f.Add("class=logs bytes=10Gi extents=100; identity=client/backup bytes=1Ti")
	f.Add(`class="a\";" bytes=0;class=* extents=1`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := state.DefaultSettings().With("quotas", text)
		if err == nil && len(s.Quotas) > 256 {
			t.Errorf("%d quotas", len(s.Quotas))
		}
	})
}
