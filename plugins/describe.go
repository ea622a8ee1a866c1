package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Bounds of what a module may say of itself.
const (
	maxDescribeBytes = 64 << 10
	maxPolicyName    = 64
	maxReasons       = 1024
	maxReasonBytes   = 200
)

// description is the JSON that policy_describe answers. Fields that are not known are ignored, so
// that it can grow.
type description struct {
	Name    string          `json:"name"`
	Version string          `json:"version"`
	Reasons []string        `json:"reasons"`
	Config  json.RawMessage `json:"config"`
}

// describe asks for the description.
func (i *instance) describe(ctx context.Context) ([]byte, error) {
	result, err := i.prepare(ctx, exportDescribe)
	if err != nil {
		return nil, err
	}
	at, n := uint32(result>>32), uint32(result)
	if n > maxDescribeBytes {
		return nil, fmt.Errorf("%d bytes of JSON, the most is %d", n, maxDescribeBytes)
	}
	text, ok := i.guest.Memory().Read(at, n)
	if !ok {
		return nil, i.module.failed(exportDescribe, BadPointer,
			fmt.Sprintf("%d bytes of JSON at %#x are outside memory: answer pointer<<32 | length", n, at))
	}
	return bytes.Clone(text), nil
}

// describedBy takes over what a description says. It is called before anyone else has the module.
func (m *Module) describedBy(text []byte) error {
	d := description{}
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("not the JSON it should be: %w", err)
	}
	if err := d.valid(); err != nil {
		return err
	}
	m.info.Name, m.info.Version, m.info.Reasons = d.Name, d.Version, d.Reasons
	m.schema = d.Config
	return nil
}

func (d *description) valid() error {
	switch {
	case !isWord(d.Name):
		return fmt.Errorf("name %+.80q, want 1 to %d characters out of a-z, 0-9, dot and hyphen", d.Name, maxPolicyName)
	case !isWord(d.Version):
		return fmt.Errorf("version %+.80q, want 1 to %d characters out of a-z, 0-9, dot and hyphen", d.Version, maxPolicyName)
	case len(d.Reasons) == 0 || d.Reasons[0] != "unspecified":
		return errors.New(`reasons must begin with "unspecified"`)
	case len(d.Reasons) > maxReasons:
		return fmt.Errorf("%d reasons, the most is %d", len(d.Reasons), maxReasons)
	}
	seen := map[string]int{}
	for n, text := range d.Reasons {
		if text == "" || len(text) > maxReasonBytes || strings.ContainsFunc(text, unseen) {
			return fmt.Errorf(
				"reason %d is %+.80q, want one line of 1 to %d bytes of valid UTF-8, without characters that do not show",
				n, text, maxReasonBytes)
		}
		if first, twice := seen[text]; twice {
			return fmt.Errorf("reason %d is %+.80q, as reason %d is; want them all different", n, text, first)
		}
		seen[text] = n
	}
	return nil
}

// unseen finds a character that does not show as itself, such as one that turns the direction of what
// follows, or that stands for bytes which were none: a reason is read in terminals and tables.
func unseen(c rune) bool {
	return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || c == unicode.ReplacementChar
}

func isWord(s string) bool {
	return s != "" && len(s) <= maxPolicyName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}
