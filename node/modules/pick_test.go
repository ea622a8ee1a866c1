package modules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire"
)

// A policy is named by its digest, the first digits of that, or its name, as long as that names one.
func TestPickPolicy(t *testing.T) {
	all := []wire.Policy{
		{Digest: "sha256:aa11bb22cc33dd44", Name: "gold", Version: "1", State: "active"},
		{Digest: "sha256:aa99bb22cc33dd44", Name: "gold", Version: "1", State: "loaded",
			Config: map[string]string{"class": "silver"}},
		{Digest: "sha256:bb11bb22cc33dd44", Name: "aa11", Version: "2", State: "previous",
			Config: map[string]string{"text": strings.Repeat("é", 100)}},
	}
	for want, index := range map[string]int{"sha256:aa99bb22cc33dd44": 1, "aa9": 1, "sha256:aa1": 0, "aa11b": 0, "b": 2} {
		if p, err := Pick(all, want); err != nil || p.Digest != all[index].Digest {
			t.Errorf("%s: %s, %v; want %s", want, p.Digest, err, all[index].Digest)
		}
	}
	for want, words := range map[string][]string{
		"gold": {`"gold" means 2 loaded policies; name one by its digest: ` +
			`aa11bb22cc33 (gold 1, no configuration, active), aa99bb22cc33 (gold 1, class=silver, loaded)`},
		"aa11": {"means 2", "aa11bb22cc33", "bb11bb22cc33 (aa11 2, text=ééé", "é…, previous)"},
	} {
		_, err := Pick(all, want)
		if oneLine(t, err, words...); wire.CodeOf(err) != wire.CodeInvalid {
			t.Errorf("%s: %v", want, err)
		}
		for _, digits := range strings.Fields(err.Error()) { // what it says to type works
			if p, err := Pick(all, digits); len(digits) == shownDigits &&
				(err != nil || !strings.HasPrefix(p.Digest, digestPrefix+digits)) {
				t.Errorf("%s: %s, %v", digits, p.Digest, err)
			}
		}
	}
	for _, want := range []string{"", "sha256:", "silver", "aa0"} {
		if _, err := Pick(all, want); wire.CodeOf(err) != wire.CodeNotFound {
			t.Errorf("%q: %v", want, err)
		}
	}
	var many []wire.Policy
	for i := range maxShown + 3 {
		many = append(many, wire.Policy{Digest: fmt.Sprintf("sha256:%016x", i<<40), Name: "gold"})
	}
	_, err := Pick(many, "gold")
	oneLine(t, err, "means 8", "and 3 more, see policy ls")
}

// oneLine fails unless err is one line that has all the words.
func oneLine(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one about %q", words)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}
