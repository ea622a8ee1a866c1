package describe

import (
	"fmt"
	"strings"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// punchesNamed is how many ranges of a punch are named one by one.
const punchesNamed = 4

// Punch is one line about the ranges that a punch deletes, as far as they are not refused.
func Punch(c *state.Punch) string {
	var bytes uint64
	var names []string
	for i, r := range c.Ranges {
		bytes += r.Length
		if i < punchesNamed {
			names = append(names, wire.Locator{
				Extent: uint64(r.Extent), Offset: r.Offset, Length: r.Length, Birth: r.Birth,
			}.String())
		}
	}
	if more := len(c.Ranges) - punchesNamed; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("ranges=%d bytes=%d %s", len(c.Ranges), bytes, strings.Join(names, " "))
}
