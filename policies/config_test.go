package policies

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheckConfig(t *testing.T) {
	many := map[string]string{}
	for i := range MaxConfigKeys {
		many[fmt.Sprint("k", i)] = "v"
	}
	more := map[string]string{"one": "more"}
	for k, v := range many {
		more[k] = v
	}
	for _, c := range []struct {
		name   string
		config map[string]string
		want   string // "": accepted
	}{
		{"nothing", nil, ""},
		{"as many as can be", many, ""},
		{"one more", more, "65 keys"},
		{"the longest key", map[string]string{strings.Repeat("k", MaxConfigKeyBytes): ""}, ""},
		{"a longer key", map[string]string{strings.Repeat("k", MaxConfigKeyBytes+1): ""}, "1 to 64 bytes"},
		{"an empty key", map[string]string{"": "v"}, "1 to 64 bytes"},
		{"a key with =", map[string]string{"a=b": "v"}, "without spaces and ="},
		{"a key with a space", map[string]string{"a b": "v"}, "without spaces and ="},
		{"a key of no text", map[string]string{"\xff": "v"}, "without spaces and ="},
		{"any text", map[string]string{"shares": "gold=4,archive=2 ü"}, ""},
		{"two lines", map[string]string{"a": "b\nc"}, "one line"},
		{"no text", map[string]string{"a": "\xff"}, "one line"},
		{"the most bytes", map[string]string{"a": strings.Repeat("v", MaxConfigBytes-1)}, ""},
		{"more bytes", map[string]string{"a": strings.Repeat("v", MaxConfigBytes)}, "4097 bytes"},
	} {
		err := CheckConfig(c.config)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestCheckConfigSchema(t *testing.T) {
	for _, c := range []struct {
		schema, key, want string
	}{
		{``, "a", ""},
		{`{"type":"object"}`, "a", ""},
		{`"nonsense"`, "a", ""},
		{`{"properties":{"from":{},"to":{}}}`, "from", ""},
		{`{"properties":{"from":{},"to":{}}}`, "form", `"form": the policy knows from, to`},
		{`{"properties":{"from":{}},"additionalProperties":true}`, "form", ""},
		{`{"properties":{"from":{}},"additionalProperties":{"type":"string"}}`, "form", ""},
		{`{"properties":{"from":{}},"additionalProperties":false}`, "form", "the policy knows from"},
		{`{"properties":{},"patternProperties":{"^x-":{}}}`, "x-a", ""},
		{`{"properties":{}}`, "a", "takes no configuration"},
		{`{"additionalProperties":false}`, "a", "takes no configuration"},
	} {
		err := CheckConfigSchema([]byte(c.schema), map[string]string{c.key: "v"})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, want %q", c.schema, c.key, err, c.want)
		}
		if err := CheckConfigSchema([]byte(c.schema), nil); err != nil {
			t.Errorf("%s without a configuration: %v", c.schema, err)
		}
	}
}

// The digest is recorded in logs: these values must not change.
func TestConfiguredDigest(t *testing.T) {
	const module = "sha256:aa"
	for _, empty := range []map[string]string{nil, {}} {
		if got := ConfiguredDigest(module, empty); got != module {
			t.Errorf("%s without a configuration, want the module's own", got)
		}
	}
	got := ConfiguredDigest(module, map[string]string{"to": "6", "from": "22"})
	if want := "sha256:74600e0ef93a7aa2ada50ff573c2d8aea5e4d1267f173cf4f2ddb987e7e78560"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	seen := map[string]bool{module: true, got: true}
	for _, config := range []map[string]string{{"from": "22"}, {"from": "22", "to": ""}, {"from": "22", "to": "60"},
		{"from": "22 to=6"}} {
		d := ConfiguredDigest(module, config)
		if seen[d] {
			t.Errorf("%v is not told apart", config)
		}
		seen[d] = true
	}
	if ConfigText(map[string]string{"to": "6", "from": "22"}) != "from=22 to=6" {
		t.Error("the text is not in the order of the keys")
	}
}
