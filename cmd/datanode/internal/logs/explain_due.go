package logs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/wire"
)

// stampText is a moment as explanations have it.
func stampText(micros int64) string {
	if micros <= 0 {
		return "an unknown time"
	}
	return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.000Z")
}

// lengthText is a duration as explanations have it.
func lengthText(micros int64) string {
	d := time.Duration(micros) * time.Microsecond
	if d >= time.Second {
		d = d.Round(time.Millisecond)
	}
	return d.String()
}

func extentText(e wire.Extent) string {
	var all []string
	for _, r := range e.Replicas {
		name := r.Node
		if r.State != "whole" || r.NodeState != "up" {
			name += fmt.Sprintf(" (%s, node %s)", r.State, r.NodeState)
		}
		all = append(all, name)
	}
	text := fmt.Sprintf("is %s", e.State)
	if e.KeptUntil != 0 {
		text += "; its files are kept until " + stampText(e.KeptUntil)
	}
	if e.State != "deleted" {
		text += fmt.Sprintf(", with %d of %d replicas that count, on %s", e.Live, e.Want, strings.Join(all, ", "))
	}
	if e.Length > 0 {
		text += fmt.Sprintf(", %d bytes", e.Length)
	}
	if len(e.Dropping) > 0 {
		text += "; files are still to go on " + strings.Join(e.Dropping, ", ")
	}
	return text
}

func nodeText(n wire.Node) string {
	text := fmt.Sprintf("is %s since %s, %s, with %d replicas", n.State, stampText(n.Since), n.Mode, n.Replicas)
	if n.Voter {
		text += " and a vote"
	}
	if n.Refuses != "" {
		text += "; it takes no replicas: " + n.Refuses
	}
	for _, p := range n.Paused {
		text += "; it " + pauseText(p)
	}
	return text
}

// due is what is still to come for an extent, and when.
func due(now *present, e wire.Extent, repairDelay time.Duration, ops []Account) []string {
	var out []string
	open := func(kinds ...string) *Account {
		i := slices.IndexFunc(ops, func(a Account) bool { return a.Ended == 0 && slices.Contains(kinds, a.Kind) })
		if i < 0 {
			return nil
		}
		return &ops[i]
	}
	for _, a := range ops {
		if a.Ended == 0 {
			text := fmt.Sprintf("%s %s is %s", a.Kind, a.Op, a.State)
			if a.NotYet != "" {
				text += ": " + a.NotYet
			}
			out = append(out, text)
		}
	}
	if len(e.Dropping) > 0 {
		out = append(out, fmt.Sprintf("the files on %s go when these nodes answer", strings.Join(e.Dropping, ", ")))
	}
	if e.KeptUntil != 0 {
		out = append(out, fmt.Sprintf("its files go at %s, when its grace ends; undelete brings it back until then",
			stampText(e.KeptUntil)))
	}
	switch {
	case e.State != "sealed" && e.State != "open" || e.Live >= e.Want || open("repair", "move", "delete") != nil:
		return out
	case len(e.Damaged) > 0:
		return append(out, "no repair is made: no replica has all of it; bring back a node that has it whole")
	case e.Live == 0:
		return append(out, "no repair is possible: no node that is up has a whole replica; bring one back")
	case e.State == "open" && open("seal") == nil:
		return append(out, "it is sealed first, and repaired then")
	}
	return append(out, repairDue(now, e, repairDelay))
}

// pauseText says until when a node is paused, and who has asked for it.
func pauseText(p wire.NodePause) string {
	text := "is paused until " + stampText(p.Until)
	if p.By != "" {
		text += " by " + p.By
	}
	return text
}

// awaited is a paused node that is not up and has a whole replica of e, if without such nothing would be wanting.
func awaited(now *present, e wire.Extent) (text string) {
	expected := e.Live
	for _, n := range now.nodes {
		i := slices.IndexFunc(e.Replicas, func(r wire.Replica) bool { return r.Node == n.ID && r.State == "whole" })
		if i >= 0 && len(n.Paused) > 0 && n.State != "up" {
			expected++
			text = "no repair is made: " + n.ID + " " + pauseText(n.Paused[0]) + ", and its replica is to come back"
		}
	}
	if expected < e.Want {
		return ""
	}
	return text
}

// repairDue is when an extent that lacks replicas is repaired.
func repairDue(now *present, e wire.Extent, repairDelay time.Duration) string {
	if text := awaited(now, e); text != "" {
		return text
	}
	taker := slices.ContainsFunc(now.nodes, func(n wire.Node) bool {
		i := slices.IndexFunc(e.Replicas, func(r wire.Replica) bool { return r.Node == n.ID })
		holds := i >= 0 && e.Replicas[i].State == "whole"
		return n.State == "up" && n.Mode == "active" && n.Refuses == "" && len(n.Paused) == 0 && !holds && !slices.Contains(e.Dropping, n.ID)
	})
	if !taker {
		return "a repair waits for a node that could take a replica: add one, or bring one back; see node ls"
	}
	for _, r := range e.Replicas {
		if r.State == "suspect" {
			return "a repair is due now: the replica on " + r.Node + " is suspect"
		}
	}
	if len(e.Replicas) < e.Want {
		return "a repair is due now: it has fewer replicas than it wants"
	}
	best, text := int64(0), "a repair is due"
	for _, n := range now.nodes {
		holds := slices.ContainsFunc(e.Replicas, func(r wire.Replica) bool { return r.Node == n.ID })
		if !holds || n.State != "down" || len(n.Paused) > 0 || repairDelay == 0 {
			continue
		}
		at := n.Since + repairDelay.Microseconds()
		if best == 0 || at < best {
			best = at
			text = fmt.Sprintf("a repair is due at %s (repair-delay %s): %s is down since %s", stampText(at), repairDelay, n.ID,
				stampText(n.Since))
		}
	}
	if best != 0 && best <= now.micros {
		text = strings.Replace(text, "a repair is due at", "a repair is due since", 1)
	}
	return text
}

// nodeDue is what is still to come for a node.
func nodeDue(now *present, n wire.Node, repairDelay time.Duration) []string {
	var out []string
	at := n.Since + repairDelay.Microseconds()
	switch {
	case n.State == "down" && n.Replicas > 0 && len(n.Paused) > 0:
		out = append(out, fmt.Sprintf("its %d replicas are repaired elsewhere from %s on, when its pause ends, unless it "+
			"comes back", n.Replicas, stampText(max(n.Paused[0].Until, at))))
	case n.State == "down" && n.Replicas > 0 && repairDelay > 0 && at > now.micros:
		out = append(out, fmt.Sprintf("its %d replicas are repaired elsewhere from %s on (repair-delay %s), "+
			"unless it comes back", n.Replicas, stampText(at), repairDelay))
	case n.State == "down" && n.Replicas > 0:
		out = append(out, fmt.Sprintf("its %d replicas are being repaired elsewhere; "+
			"see log explain --extent for one of them", n.Replicas))
	}
	if n.Operation != "" {
		text := fmt.Sprintf("decommission %s: %d replicas are still to be moved", n.Operation, n.Remaining)
		if n.Blocked != "" {
			text += "; " + n.Blocked
		}
		out = append(out, text)
	}
	if n.SafeRemove {
		out = append(out, "it is safe to remove: node remove")
	}
	if n.Dropping > 0 {
		out = append(out, fmt.Sprintf("%d files are still to go from it", n.Dropping))
	}
	return out
}
