package state

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/policies"
)

// KeyQuietWindows names the setting.
const KeyQuietWindows = "quiet-windows"

const (
	noWindows      = "none"
	maxWindows     = 32
	maxWindowBytes = 4096
	maxZoneBytes   = 64
	dayMinutes     = 24 * 60
)

// quietKinds are those that may wait for a window to end.
var quietKinds = Kinds(policies.KindRepair, policies.KindMove, policies.KindDecommission)

// Window is a stretch of some days of the week, by the clocks of a time zone, in which operations of some kinds do
// not start. As text, which is how settings have it: "mon-fri 08:00-18:00 Europe/Berlin move,decommission".
//
// Whether there is such a zone is not known here: that depends on the machine, and every replica must come to the same.
type Window struct {
	Days  Days
	From  uint16 // minutes since midnight. Invariant: From < To <= 1440
	To    uint16 // the first minute after it
	Zone  string // as in the tz database
	Kinds KindSet
}

// Days is a set of weekdays: the bit of each is its number, and Sunday is 0.
type Days uint8

// Has reports whether d is in the set.
func (ds Days) Has(d time.Weekday) bool { return ds&(1<<d) != 0 }

// next is each day's next.
func (ds Days) next() Days { return (ds<<1 | ds>>6) & allDays }

const allDays Days = 1<<7 - 1

// weekdays as they are written, the week from Monday to Sunday.
var weekdays = [...]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// bit is the set of the day at i in weekdays.
func bit(i int) Days { return 1 << ((i + 1) % 7) }

// String is the days from Monday on, three and more in a row as a range: "mon-fri", "sat,sun".
func (ds Days) String() string {
	var parts []string
	for i := 0; i < len(weekdays); i++ {
		end := i
		for end < len(weekdays) && ds&bit(end) != 0 {
			end++
		}
		switch {
		case end-i > 2:
			parts = append(parts, weekdays[i]+"-"+weekdays[end-1])
		case end > i:
			parts = append(parts, weekdays[i:end]...)
		}
		i = max(i, end)
	}
	return strings.Join(parts, ",")
}

// String is the window as it is written.
func (w Window) String() string { return w.Hours() + " " + w.Zone + " " + w.Kinds.String() }

// Hours is the days and hours alone: "mon-fri 08:00-18:00".
func (w Window) Hours() string {
	return fmt.Sprintf("%s %02d:%02d-%02d:%02d", w.Days, w.From/60, w.From%60, w.To/60, w.To%60)
}

// ParseWindows reads windows that are separated by ";", or "none". The error says how to write what was meant.
func ParseWindows(text string) ([]Window, error) {
	if text = strings.TrimSpace(text); text == "" || text == noWindows {
		return nil, nil
	}
	if len(text) > maxWindowBytes {
		return nil, fmt.Errorf("%d bytes of windows; at most %d", len(text), maxWindowBytes)
	}
	parts := strings.Split(strings.TrimSuffix(text, ";"), ";")
	if len(parts) > maxWindows {
		return nil, fmt.Errorf("%d windows; at most %d", len(parts), maxWindows)
	}
	var all []Window
	for _, part := range parts {
		w, err := parseWindow(part)
		if err != nil {
			return nil, fmt.Errorf("window %q: %w", strings.TrimSpace(part), err)
		}
		for _, other := range all {
			if err := w.overlaps(other); err != nil {
				return nil, err
			}
		}
		all = append(all, w)
	}
	return all, nil
}

func parseWindow(text string) (w Window, err error) {
	fields := strings.Fields(text)
	if len(fields) != 4 {
		return w, errors.New("want DAYS HOURS ZONE KINDS, such as mon-fri 08:00-18:00 Europe/Berlin move,decommission; " +
			"several windows have ; between them")
	}
	if w.Days, err = parseDays(fields[0]); err != nil {
		return w, err
	}
	if w.Zone = fields[2]; !zoneName(w.Zone) {
		return w, fmt.Errorf("%q is no name of a time zone, such as UTC or Europe/Berlin", w.Zone)
	}
	if w.Kinds, err = parseKinds(fields[3], "some", quietKinds); err != nil {
		return w, err
	}
	return w, w.parseHours(fields[1])
}

// parseDays reads days and ranges of them. A range may go over Sunday: the week has no end for those who work at night.
func parseDays(text string) (ds Days, err error) {
	day := func(word string) int { return slices.Index(weekdays[:], strings.ToLower(word)) }
	for _, part := range strings.Split(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		from, to := day(first), day(last)
		if from < 0 || to < 0 {
			return 0, fmt.Errorf("%q are no days; want some of mon, tue, wed, thu, fri, sat, sun, such as mon-fri or sat,sun",
				text)
		}
		for i := from; ; i = (i + 1) % len(weekdays) {
			if ds |= bit(i); i == to {
				break
			}
		}
	}
	return ds, nil
}

// parseHours needs the rest of the window, to say how a night is written.
func (w *Window) parseHours(text string) error {
	first, last, _ := strings.Cut(text, "-")
	from, okFrom := parseMinutes(first)
	to, okTo := parseMinutes(last)
	w.From, w.To = from, to
	switch {
	case !okFrom || !okTo || from == dayMinutes:
		return fmt.Errorf("%q are no hours; want from-to, such as 08:00-18:00, at most 00:00-24:00", text)
	case from == to:
		return fmt.Errorf("%q is empty; a whole day is 00:00-24:00", text)
	case to == 0:
		return fmt.Errorf("it ends before it begins; the end of a day is 24:00, so write %02d:%02d-24:00", from/60, from%60)
	case from > to:
		evening, morning := *w, *w
		evening.To = dayMinutes
		morning.Days, morning.From = w.Days.next(), 0
		return fmt.Errorf(
			"it ends before it begins; a night is two windows, one to midnight and one of the days after: %s; %s", evening,
			morning)
	}
	return nil
}

// parseMinutes reads a time of day to the minute, 24:00 included.
func parseMinutes(text string) (minutes uint16, ok bool) {
	hour, minute, ok := strings.Cut(text, ":")
	h, errH := strconv.ParseUint(hour, 10, 8)
	m, errM := strconv.ParseUint(minute, 10, 8)
	if !ok || errH != nil || errM != nil || len(hour) > 2 || len(minute) != 2 || m > 59 || h*60+m > dayMinutes {
		return 0, false
	}
	return uint16(h*60 + m), true
}

// zoneName reports whether a zone may have this name. "Local" is another zone on each machine.
func zoneName(s string) bool {
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-+/", r)
	}
	return s != "" && len(s) <= maxZoneBytes && s != "Local" && s[0] != '/' && !strings.ContainsFunc(s, strange)
}

// overlaps refuses two windows that say the same twice: one of them is likely to be a mistake, and who changes one
// would wonder why nothing changes. By the clocks of different zones windows may overlap: that is how sites of a cell
// are busy.
func (w Window) overlaps(other Window) error {
	switch {
	case w.Zone != other.Zone, w.Days&other.Days == 0, w.Kinds&other.Kinds == 0, w.From >= other.To, other.From >= w.To:
		return nil
	}
	return fmt.Errorf("windows %q and %q overlap, on %s from %02d:%02d for %s; write what both cover once",
		other, w, w.Days&other.Days, max(w.From, other.From)/60, max(w.From, other.From)%60, w.Kinds&other.Kinds)
}

// quietWindows is the setting of the hours in which nothing is moved.
func quietWindows() setting {
	return setting{
		key: KeyQuietWindows, help: "when operations do not start: DAYS HOURS ZONE KINDS, such as mon-fri 08:00-18:00 " +
			"Europe/Berlin move; none: never",
		get: func(s *Settings) string { return cmp.Or(s.QuietWindows, noWindows) },
		set: func(s *Settings, v string) error {
			all, err := ParseWindows(v)
			if err != nil {
				return fmt.Errorf("%s: %w", KeyQuietWindows, err)
			}
			texts := make([]string, len(all))
			for i, w := range all {
				texts[i] = w.String()
			}
			s.QuietWindows = strings.Join(texts, "; ")
			return nil
		},
	}
}
