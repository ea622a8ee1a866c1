package state

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

func quotas() setting {
	return setting{
		key: KeyQuotas,
		help: "what may be kept of a class or for an identity, such as class=logs bytes=10Gi extents=100; " +
			"identity=client/backup bytes=1Ti; class=* is each without its own; none: anything",
		get: func(s *Settings) string { return quotasText(s.Quotas) },
		set: func(s *Settings, v string) (err error) {
			s.Quotas, err = parseQuotas(v)
			return err
		},
	}
}

func quotasText(all []Quota) string {
	if len(all) == 0 {
		return noQuotas
	}
	var texts []string
	for _, q := range all {
		texts = append(texts, q.String())
	}
	return strings.Join(texts, "; ")
}

// String is the quota as it is in the setting.
func (q Quota) String() string {
	name := q.Name
	switch {
	case q.Each:
		name = eachOne
	case name == "" || name == eachOne || strings.ContainsAny(name, `;"= `):
		name = strconv.Quote(name)
	}
	return q.By.String() + "=" + name + " " + q.Limits()
}

// Limits is what a quota allows, as it is in the setting.
func (q *Quota) Limits() string {
	var texts []string
	if q.Bytes != Unbounded {
		texts = append(texts, "bytes="+bytesText(q.Bytes))
	}
	if q.Extents != Unbounded {
		texts = append(texts, "extents="+strconv.FormatUint(q.Extents, 10))
	}
	return strings.Join(texts, " ")
}

// parseQuotas reads what quotasText writes, in any order.
func parseQuotas(text string) ([]Quota, error) {
	if strings.TrimSpace(text) == noQuotas {
		return nil, nil
	}
	var all []Quota
	for rest := text; ; {
		var q Quota
		var err error
		if q, rest, err = parseQuota(rest); err != nil {
			return nil, fmt.Errorf(
				"%s: %w; want such as class=logs bytes=10Gi extents=100; identity=client/backup bytes=1Ti, or none", KeyQuotas, err)
		}
		if all = append(all, q); len(all) > maxQuotas {
			return nil, fmt.Errorf("%s: more than %d", KeyQuotas, maxQuotas)
		}
		if strings.TrimSpace(rest) == "" {
			break
		}
	}
	slices.SortFunc(all, compareQuotas)
	for i := range all[1:] {
		if compareQuotas(all[i], all[i+1]) == 0 {
			return nil, fmt.Errorf("%s: there are two for %s; want one", KeyQuotas, all[i].Whose())
		}
	}
	return all, nil
}

// compareQuotas orders them as they are kept: the one of each class first, then classes by name, then identities.
func compareQuotas(a, b Quota) int {
	if a.By != b.By || a.Each == b.Each {
		return cmp.Or(cmp.Compare(a.By, b.By), strings.Compare(a.Name, b.Name))
	}
	if a.Each {
		return -1
	}
	return 1
}

// parseQuota reads one quota, up to the semicolon that ends it or the end of the text.
func parseQuota(text string) (q Quota, rest string, err error) {
	q.Bytes, q.Extents = Unbounded, Unbounded
	seen := map[string]bool{}
	for rest = strings.TrimSpace(text); rest != "" && rest[0] != ';'; rest = strings.TrimLeft(rest, " ") {
		key, value, after, err := parseWord(rest)
		if err != nil {
			return q, "", err
		}
		if rest = after; seen[key] {
			return q, "", fmt.Errorf("%s is said twice for one", key)
		}
		if seen[key] = true; seen[QuotaByClass.String()] && seen[QuotaByIdentity.String()] {
			return q, "", fmt.Errorf("one is of a class or of an identity, not of both")
		}
		if err := q.put(key, value); err != nil {
			return q, "", err
		}
	}
	switch {
	case q.By == 0:
		return q, "", fmt.Errorf("%q names neither a class nor an identity", clip(text))
	case q.Bytes == Unbounded && q.Extents == Unbounded:
		return q, "", fmt.Errorf("that of %s bounds neither bytes nor extents", q.Whose())
	}
	return q, strings.TrimPrefix(rest, ";"), nil
}

// parseWord reads key=value, where the value may be quoted as in Go: then it comes back with its quotes.
func parseWord(text string) (key, value, rest string, err error) {
	key, rest, ok := strings.Cut(text, "=")
	if !ok || strings.ContainsAny(key, "; ") {
		return "", "", "", fmt.Errorf("%q is no word such as class=logs", clip(text))
	}
	if strings.HasPrefix(rest, `"`) {
		if value, err = strconv.QuotedPrefix(rest); err != nil {
			return "", "", "", fmt.Errorf("%q has no second quote", clip(text))
		}
		if rest = rest[len(value):]; rest != "" && rest[0] != ';' && rest[0] != ' ' {
			return "", "", "", fmt.Errorf("%s is followed by %q", clip(value), clip(rest))
		}
		return key, value, rest, nil
	}
	end := strings.IndexAny(rest, "; ")
	if end < 0 {
		end = len(rest)
	}
	return key, rest[:end], rest[end:], nil
}

// put takes one word into q.
func (q *Quota) put(key, value string) (err error) {
	ok := true
	switch key {
	case QuotaByClass.String():
		q.By = QuotaByClass
		return q.name(value)
	case QuotaByIdentity.String():
		q.By = QuotaByIdentity
		return q.name(value)
	case "bytes":
		q.Bytes, ok = parseBytes(value)
	case "extents":
		q.Extents, err = strconv.ParseUint(value, 10, 32)
	default:
		return fmt.Errorf("there is no %q; a quota has class or identity, bytes, extents", clip(key))
	}
	if !ok || err != nil {
		return fmt.Errorf("%s must be a whole number such as 100 or, of bytes, 10Gi, not %q", key, clip(value))
	}
	return nil
}

// name takes the name of a class or identity into q, as it is in the text.
func (q *Quota) name(value string) (err error) {
	if value == eachOne {
		q.Each = true
		return nil
	}
	if q.Name = value; strings.HasPrefix(value, `"`) {
		if q.Name, err = strconv.Unquote(value); err != nil {
			return fmt.Errorf("%s is not quoted as it should be", clip(value))
		}
	}
	switch role, who, _ := strings.Cut(q.Name, "/"); {
	case q.By == QuotaByClass && (len(q.Name) > policies.ClassBytes || !wire.Plain(q.Name)):
		return fmt.Errorf("class %q: want a tag of at most %d bytes without control characters", clip(q.Name),
			policies.ClassBytes)
	case q.By == QuotaByIdentity && (len(q.Name) > wire.MaxIdentityBytes || !wire.Plain(q.Name) || who == "" ||
		!slices.Contains([]string{"client", "admin", "node"}, role)):
		return fmt.Errorf("identity %q: want role and name of a certificate, such as client/backup", clip(q.Name))
	}
	return nil
}

// byteSuffixes are those of bytes. Settings that are older know nothing above Gi, and must go on so: an older build
// would take what a newer one refuses.
func byteSuffixes() []suffix { return append([]suffix{{"Pi", 50}, {"Ti", 40}}, suffixes()...) }

// bytesText is a number of bytes as parseBytes reads it, exactly.
func bytesText(n uint64) string {
	for _, s := range byteSuffixes()[:2] {
		if n != 0 && n%(1<<s.bits) == 0 {
			return strconv.FormatUint(n>>s.bits, 10) + s.text
		}
	}
	return UnitsText(n)
}

func parseBytes(text string) (n uint64, ok bool) {
	for _, s := range byteSuffixes()[:2] {
		if digits, found := strings.CutSuffix(text, s.text); found {
			n, err := strconv.ParseUint(digits, 10, 64-s.bits)
			return n << s.bits, err == nil && n<<s.bits != Unbounded
		}
	}
	n, ok = parseUnits(text)
	return n, ok && n != Unbounded
}

// Roughly is a number of bytes for people, with one digit behind the point where it is not a whole number of units.
func Roughly(n uint64) string {
	for _, s := range byteSuffixes() {
		if n >= 1<<s.bits {
			tenths := n>>s.bits*10 + n&(1<<s.bits-1)*10>>s.bits
			if tenths%10 == 0 {
				return strconv.FormatUint(tenths/10, 10) + s.text
			}
			return fmt.Sprintf("%d.%d%s", tenths/10, tenths%10, s.text)
		}
	}
	return strconv.FormatUint(n, 10)
}
