package extent

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

const (
	extentSuffix = ".ext"
	partSuffix   = ".part"
	cutSuffix    = ".cut"
	tailSuffix   = ".tail"
	punchSuffix  = ".punch"
	newSuffix    = ".new"
	whySuffix    = ".why"
)

// folder knows the store's paths.
type folder string

func (d folder) lock() string         { return path.Join(string(d), "LOCK") }
func (d folder) fences() string       { return path.Join(string(d), "fences") }
func (d folder) fencesTmp() string    { return path.Join(string(d), "fences.tmp") }
func (d folder) catalogue() string    { return path.Join(string(d), "catalogue") }
func (d folder) catalogueTmp() string { return path.Join(string(d), "catalogue.tmp") }
func (d folder) extents() string      { return path.Join(string(d), "extents") }
func (d folder) staging() string      { return path.Join(string(d), "staging") }
func (d folder) quarantine() string   { return path.Join(string(d), "quarantine") }

func (d folder) fan(id ID) string { return path.Join(d.extents(), fanName(id)) }

func (d folder) extent(id ID) string { return path.Join(d.fan(id), id.String()+extentSuffix) }
func (d folder) part(id ID) string   { return path.Join(d.staging(), id.String()+partSuffix) }
func (d folder) cut(id ID) string    { return path.Join(d.staging(), id.String()+cutSuffix) }
func (d folder) punch(id ID) string  { return path.Join(d.staging(), id.String()+punchSuffix) }
func (d folder) anew(id ID) string   { return path.Join(d.staging(), id.String()+newSuffix) }
func (d folder) tail(id ID) string   { return path.Join(d.staging(), id.String()+tailSuffix) }

func (d folder) quarantined(id ID, n int, suffix string) string {
	return path.Join(d.quarantine(), fmt.Sprintf("%d.%d%s", id, n, suffix))
}

func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

func fanName(id ID) string { return fmt.Sprintf("%02x", byte(id)) }

// parseName is the ID in a file name with the given suffix. ok is false for every name that the
// store would not have given.
func parseName(name, suffix string) (id ID, ok bool) {
	digits, found := strings.CutSuffix(name, suffix)
	n, err := strconv.ParseUint(digits, 10, 64)
	if !found || err != nil || ID(n).String() != digits {
		return 0, false
	}
	return ID(n), true
}
