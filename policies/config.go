package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a configuration. It is part of an entry of the log and of every snapshot.
const (
	MaxConfigKeys     = 64
	MaxConfigKeyBytes = 64
	MaxConfigBytes    = 4096 // all keys and values together
)

// CheckConfig reports whether a policy can be configured so at all. What the keys mean is between the
// policy and whoever configures it; see CheckConfigSchema.
func CheckConfig(config map[string]string) error {
	if len(config) > MaxConfigKeys {
		return fmt.Errorf("a configuration of %d keys, at most %d are kept", len(config), MaxConfigKeys)
	}
	bytes := 0
	for _, key := range slices.Sorted(maps.Keys(config)) { // sorted, so that every node finds the same fault
		value := config[key]
		bytes += len(key) + len(value)
		switch {
		case key == "" || len(key) > MaxConfigKeyBytes:
			return fmt.Errorf("configuration key %+.80q, want 1 to %d bytes", key, MaxConfigKeyBytes)
		case !utf8.ValidString(key) ||
			strings.ContainsFunc(key, func(r rune) bool { return r == '=' || unicode.IsSpace(r) || unicode.IsControl(r) }):
			return fmt.Errorf("configuration key %+.80q, want text without spaces and =", key)
		case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
			return fmt.Errorf("configuration %s=%+.80q, want one line of text", key, value)
		}
	}
	if bytes > MaxConfigBytes {
		return fmt.Errorf("a configuration of %d bytes, at most %d are kept", bytes, MaxConfigBytes)
	}
	return nil
}

// ConfigText is a configuration on one line, "key=value key=value" by key, for people.
func ConfigText(config map[string]string) string {
	var b strings.Builder
	for i, key := range slices.Sorted(maps.Keys(config)) {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(key + "=" + config[key])
	}
	return b.String()
}

// ConfiguredDigest identifies a policy with its configuration: the module's own digest where there is no
// configuration, else the SHA-256 of "datanode policy\n", the module's digest, a newline, and the
// configuration as JSON with its keys sorted. So a configuration is part of what a decision names, and
// two of one module are told apart by the first digits, as two modules are.
func ConfiguredDigest(module string, config map[string]string) string {
	if len(config) == 0 {
		return module
	}
	text, err := json.Marshal(config)
	if err != nil {
		panic("policies: configuration as JSON: " + err.Error()) // strings
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "datanode policy\n%s\n%s", module, text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// CheckConfigSchema refuses keys that a policy does not know, by the JSON schema in its description: it
// must list properties, and may say by additionalProperties or patternProperties that others are welcome.
// Values are left to the policy, which can refuse them itself when it starts.
func CheckConfigSchema(schema []byte, config map[string]string) error {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Patterns   json.RawMessage            `json:"patternProperties"`
		Additional json.RawMessage            `json:"additionalProperties"`
	}
	if len(schema) == 0 || json.Unmarshal(schema, &s) != nil {
		return nil // not a schema that says anything about keys
	}
	closed := string(s.Additional) == "false" || s.Properties != nil && s.Additional == nil
	if !closed || s.Patterns != nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if _, known := s.Properties[key]; known {
			continue
		}
		if len(s.Properties) == 0 {
			return fmt.Errorf("configuration key %q: the policy takes no configuration", key)
		}
		return fmt.Errorf("configuration key %q: the policy knows %s", key,
			strings.Join(slices.Sorted(maps.Keys(s.Properties)), ", "))
	}
	return nil
}
