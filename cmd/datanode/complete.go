package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	// completeWithin is how long the cell may take to answer while a person waits for the shell.
	completeWithin = 2 * time.Second
	// completeMost bounds what is offered; who wants one of more types its beginning.
	completeMost = 500
)

// choice makes the words to choose from, each with a description behind a tab if it has one. before are the arguments
// that are typed already.
type choice func(before []string) []string

// completer knows what is to be put where: for the words of usages, such as NODE, and for flags by name.
type completer struct {
	a     app
	words map[string]choice
	flags map[string]choice
}

// withCompletion has the shell complete the arguments and flags of all commands that have said nothing of their own.
func withCompletion(a app, root *cobra.Command) *cobra.Command {
	c := completer{a: a}
	kinds, openOps, keptOps := fixed(meetingKinds()...), c.ops(true), c.ops(false)
	c.words = map[string]choice{
		"NODE": c.nodes, "DISK": c.disks, "KIND": kinds, "KEY": c.settings, "[KEY]": c.settings, "ID": keptOps,
		"ID...": keptOps, "INDEX|OP": keptOps, "OP": keptOps, "DIGEST|NAME": c.policies, "EXTENT": c.extents,
		"[SNAPSHOT]": c.snapshots,
	}
	c.flags = map[string]choice{
		"node": c.nodes, "about": c.nodes, "target": c.nodes, "kind": kinds, "existing": kinds, "incoming": kinds,
		"op":     keptOps,
		"before": openOps, "extent": c.extents, "policy": c.digests, "snapshot": c.snapshots,
		"type":   fixed(state.CommandNames()...),
		"state":  fixed(append(state.OpStateNames(), "joining", "up", "down")...),
		"output": fixed(term.FormatTable, term.FormatJSON, term.FormatLines),
	}
	c.into(root)
	return root
}

func (c completer) into(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.into(sub)
	}
	if cmd.HasParent() && cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 && !cmd.HasSubCommands() {
		cmd.ValidArgsFunction = c.argument
	}
	add := func(f *pflag.Flag) {
		choose := c.flags[f.Name]
		if _, has := cmd.GetFlagCompletionFunc(f.Name); has || choose == nil {
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, func(_ *cobra.Command, args []string, typed string) (
			[]string, cobra.ShellCompDirective) {
			list := strings.HasSuffix(f.Value.Type(), "Slice")
			return beginning(choose(args), typed, list), cobra.ShellCompDirectiveNoFileComp
		}) // its only error is that there is one already
	}
	cmd.Flags().VisitAll(add)
	cmd.PersistentFlags().VisitAll(add)
}

// argument completes an argument by the word for it in the usage of its command.
func (c completer) argument(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	words := strings.Fields(cmd.Use)[1:]
	if len(words) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	at := len(args)
	if last := len(words) - 1; at > last && words[last] == "..." {
		at = last - 1 // as many as one likes
	} else if at > last {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if strings.Contains(words[at], "FILE") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	if choose := c.words[words[at]]; choose != nil {
		return beginning(choose(args), typed, false), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// beginning are the choices that go on from what is typed. Of a list, that is its last part.
func beginning(choices []string, typed string, list bool) (words []string) {
	before := ""
	if list {
		before = typed[:strings.LastIndexByte(typed, ',')+1]
	}
	for _, word := range choices {
		if strings.HasPrefix(before+word, typed) {
			words = append(words, before+word)
		}
	}
	return words
}

func fixed(words ...string) choice { return func([]string) []string { return words } }

// ask asks the cell. Where it does not answer nothing is offered: a shell has no place for a message.
func (c completer) ask(f func(ctx context.Context, cl *client.Client) []string) (words []string) {
	ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
	defer cancel()
	certificate, err := c.a.TLS()
	if err != nil {
		return nil
	}
	cl := client.New(client.Options{Addrs: c.a.Addrs(), TLS: certificate, Name: "datanode completion"})
	defer cl.Close()
	return f(ctx, cl)
}

func (c completer) nodes([]string) []string {
	return c.ask(func(ctx context.Context, cl *client.Client) (words []string) {
		nodes, _ := cl.Nodes(ctx) // none on errors
		for _, n := range nodes {
			words = append(words, n.ID+"\t"+n.State)
		}
		return words
	})
}

// disks are those of the node that is named before.
func (c completer) disks(before []string) []string {
	return c.ask(func(ctx context.Context, cl *client.Client) (words []string) {
		disks, _ := cl.Disks(ctx, before[0])
		for _, d := range disks {
			words = append(words, d.Disk+"\t"+d.State)
		}
		return words
	})
}

func (c completer) settings([]string) []string {
	return c.ask(func(ctx context.Context, cl *client.Client) (words []string) {
		settings, _ := cl.Settings(ctx)
		for _, s := range settings {
			words = append(words, s.Key+"\tnow "+s.Value)
		}
		return words
	})
}

func (c completer) policies([]string) []string {
	return c.loaded(func(p wire.Policy) string { return p.Name })
}
func (c completer) digests([]string) []string {
	return c.loaded(func(p wire.Policy) string { return p.Digest })
}

func (c completer) loaded(word func(wire.Policy) string) []string {
	return c.ask(func(ctx context.Context, cl *client.Client) (words []string) {
		reply, _ := cl.Policies(ctx)
		for _, p := range reply.Policies {
			if w := word(p) + "\t" + p.Name + " " + p.Version + ", " + p.State; !slices.Contains(words, w) {
				words = append(words, w)
			}
		}
		return words
	})
}

func (c completer) snapshots([]string) []string {
	return c.ask(func(ctx context.Context, cl *client.Client) (words []string) {
		reply, _ := cl.LogSnapshots(ctx, "", false)
		for _, s := range reply.Snapshots {
			if s.OK {
				words = append(words, s.ID+"\tentry "+term.Count(s.Applied))
			}
		}
		return words
	})
}

func (c completer) ops(open bool) choice {
	return func([]string) []string {
		return c.ask(func(ctx context.Context, cl *client.Client) (words []string) {
			for o, err := range cl.Ops(ctx, wire.OpsRequest{Open: open}) {
				if err != nil || len(words) == completeMost {
					break
				}
				words = append(words, o.ID+"\t"+o.State+" "+o.Kind)
			}
			return words
		})
	}
}

func (c completer) extents([]string) []string {
	return c.ask(func(ctx context.Context, cl *client.Client) (words []string) {
		for e, err := range cl.Extents(ctx, wire.ExtentsRequest{}) {
			if err != nil || len(words) == completeMost {
				break
			}
			words = append(words, strconv.FormatUint(e.ID, 10)+"\t"+e.State)
		}
		return words
	})
}
