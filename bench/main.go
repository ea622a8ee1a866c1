package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/load"
)

// job is one thing that all peers are measured at.
type job struct {
	op            string // put, get or delete
	size, callers int
	batch         int // objects that one call deletes
	objects       int // there are to read or delete
}

const maxFill = 100 << 20 // bytes that are put before something else is measured

func (j job) String() string {
	text := fmt.Sprintf("%s %s, %d callers", j.op, bytesOf(j.size), j.callers)
	if j.batch > 1 {
		text += fmt.Sprintf(", %d at once", j.batch)
	}
	return text
}

func bytesOf(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " B"
}

// peer is something that is measured: a cell of three processes.
type peer interface {
	name() string
	// measure does a job once. It leaves nothing behind that the next job would meet.
	measure(ctx context.Context, j job) (load.Row, error)
	stop()
}

// options are the flags.
type options struct {
	dir, datanode  string
	ops            string
	sizes, callers string
	rounds, each   int // each is in milliseconds
	objects, batch int
	peers          bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if os.Getenv(actAsEtcd) != "" {
		beEtcd()
		return
	}
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var each time.Duration
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.datanode, "datanode", "",
		"builds of the product, NAME=BINARY,…; the last one's client measures them all")
	f.StringVar(&o.dir, "dir", "",
		"where all have their data, in folders that are removed at the end (default: a temporary one)")
	f.StringVar(&o.ops, "ops", "put,get,delete", "what is measured")
	f.StringVar(&o.sizes, "sizes", "4096,65536,1048576", "bytes of an object")
	f.StringVar(&o.callers, "callers", "16,64", "how many callers there are at once")
	f.IntVar(&o.rounds, "rounds", 5, "how often each is measured")
	f.DurationVar(&each, "each", 3*time.Second, "how long one measurement takes")
	f.IntVar(&o.objects, "objects", 1000, "how many objects there are to read or delete, up to 100 MiB")
	f.IntVar(&o.batch, "batch", 100, "objects that one call deletes, beside one at a time")
	f.BoolVar(&o.peers, "etcd", true, "measure etcd too")
	err := f.Parse(args)
	o.each = int(each.Milliseconds())
	if err == nil && (o.rounds < 1 || o.each < 1 || o.objects < 1) {
		err = fmt.Errorf("--rounds, --each and --objects have to be more than 0")
	}
	return o, err
}

// jobs are all that is to be measured, in order.
func (o options) jobs() ([]job, error) {
	sizes, err := numbers(o.sizes)
	if err != nil {
		return nil, err
	}
	callers, err := numbers(o.callers)
	if err != nil {
		return nil, err
	}
	var jobs []job
	for op := range strings.SplitSeq(o.ops, ",") {
		if op == "delete" {
			n := o.count(sizes[0])
			jobs = append(jobs, job{op, sizes[0], callers[0], 1, n}, job{op, sizes[0], callers[0], o.batch, n})
			continue
		}
		for _, size := range sizes {
			for _, n := range callers {
				jobs = append(jobs, job{op, size, n, 1, o.count(size)})
			}
		}
	}
	return jobs, nil
}

// count is how many objects of a size are put to be read or deleted.
func (o options) count(size int) int { return max(min(o.objects, maxFill/size), o.batch) }

func numbers(list string) ([]int, error) {
	var all []int
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number above 0", s)
		}
		all = append(all, n)
	}
	return all, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	jobs, err := o.jobs()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "datanode-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	peers, err := o.start(ctx, dir)
	defer func() {
		for _, p := range peers {
			p.stop()
		}
	}()
	if err != nil {
		return err
	}
	if len(peers) == 0 {
		return errors.New("there is nothing to measure: give --datanode, or etcd")
	}
	header(out, peers)
	for _, j := range jobs {
		rounds, err := measure(ctx, peers, j, o.rounds)
		if err != nil {
			return err
		}
		line(out, j, rounds)
	}
	return nil
}

// start starts what is compared. With an error come those that run.
func (o options) start(ctx context.Context, dir string) ([]peer, error) {
	var peers []peer
	if o.peers {
		for _, read := range []string{"", "serializable"} {
			if read != "" && !strings.Contains(o.ops, "get") {
				continue
			}
			var from *etcd
			if len(peers) > 0 {
				from = peers[0].(*etcd)
			}
			e, err := newEtcd(ctx, filepath.Join(dir, "etcd"), o, from)
			if err != nil {
				return peers, err
			}
			peers = append(peers, e)
		}
	}
	builds := strings.FieldsFunc(o.datanode, func(r rune) bool { return r == ',' })
	for i, b := range builds {
		name, binary, ok := strings.Cut(b, "=")
		if !ok {
			return peers, fmt.Errorf("--datanode %q: want NAME=BINARY", b)
		}
		_, client, _ := strings.Cut(builds[len(builds)-1], "=")
		p, err := newProduct(ctx, filepath.Join(dir, fmt.Sprint(i)), name, binary, client, o)
		if err != nil {
			return peers, err
		}
		peers = append(peers, p)
	}
	return peers, nil
}

// measured is what one peer did in all rounds. An entry is zero where the peer cannot do it.
type measured struct {
	name string
	rows []load.Row
	err  error // why there are none
}

// measure does a job in turns; each round begins with another peer.
func measure(ctx context.Context, peers []peer, j job, rounds int) ([]measured, error) {
	all := make([]measured, len(peers))
	for i, p := range peers {
		all[i].name = p.name()
	}
	for r := range rounds {
		for i := range peers {
			at := (i + r) % len(peers)
			if all[at].err != nil {
				continue
			}
			row, err := peers[at].measure(ctx, j)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			all[at].err = err
			all[at].rows = append(all[at].rows, row)
			fmt.Fprintf(os.Stderr, "%s, round %d, %s: %.0f/s, p99 %.0f µs, servers %.0f µs, %d errors %s %v\n", j, r+1,
				all[at].name, row.PerSecond, row.P99, row.ServerTime, row.Errors, row.Error, err)
		}
	}
	return all, nil
}

func median(rows []load.Row, of func(load.Row) float64) float64 {
	var values []float64
	for _, r := range rows {
		values = append(values, of(r))
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
