package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.uber.org/zap"

	"github.com/datanode/datanode/load"
)

const (
	// actAsEtcd makes this program etcd, with the arguments that it has.
	actAsEtcd = "DATANODE_BENCH_ETCD"

	maxRequest = 4 << 20 // etcd takes 1.5 MiB by default, an object of 1 MiB has a key too
	maxBackend = 8 << 30
	maxTxn     = 10_000
	fillAtOnce = 16
	endAfter   = time.Minute // of one request, so that none is given up that is only slow
)

func beEtcd() { etcdmain.Main(append([]string{"etcd"}, os.Args[1:]...)) }

// etcd is a cluster of three members with their defaults, fsync among them. Two peers may share one: the other one
// reads without a majority, from the member that is asked, as the product does of what has a locator.
type etcd struct {
	serializable bool
	members      *processes
	endpoints    []string
	o            options
	prefix       atomic.Int64 // of the objects of a job, so that no two write the same keys
	clients      []*clientv3.Client
}

func newEtcd(ctx context.Context, dir string, o options, from *etcd) (*etcd, error) {
	if from != nil {
		return &etcd{serializable: true, members: from.members, endpoints: from.endpoints, o: o}, nil
	}
	addrs, err := addresses(2 * members)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &etcd{members: &processes{}, o: o}
	var cluster []string
	for i := range members {
		cluster = append(cluster, fmt.Sprintf("m%d=http://%s", i, addrs[i]))
		e.endpoints = append(e.endpoints, addrs[members+i])
	}
	for i := range members {
		name := fmt.Sprintf("m%d", i)
		cmd := exec.Command(self, "--name", name, "--data-dir", filepath.Join(dir, name),
			"--listen-peer-urls", "http://"+addrs[i], "--initial-advertise-peer-urls", "http://"+addrs[i],
			"--listen-client-urls", "http://"+e.endpoints[i], "--advertise-client-urls", "http://"+e.endpoints[i],
			"--initial-cluster", strings.Join(cluster, ","), "--max-request-bytes", fmt.Sprint(maxRequest),
			"--quota-backend-bytes", fmt.Sprint(int64(maxBackend)), "--max-txn-ops", fmt.Sprint(maxTxn), "--log-level", "warn")
		cmd.Env = append(os.Environ(), actAsEtcd+"=1")
		if err := e.members.start(filepath.Join(dir, name+".log"), cmd); err != nil {
			e.stop()
			return nil, err
		}
	}
	if err := e.ready(ctx); err != nil {
		e.stop()
		return nil, fmt.Errorf("etcd does not start, see %s: %w", dir, err)
	}
	return e, nil
}

func (e *etcd) name() string {
	if e.serializable {
		return "etcd, serializable"
	}
	return "etcd"
}

func (e *etcd) stop() {
	for _, c := range e.clients {
		_ = c.Close() // the measurement is over
	}
	if !e.serializable {
		e.members.stop()
	}
}

// ready waits until the cluster answers a read that needs a majority.
func (e *etcd) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c, err := e.client(0)
	if err != nil {
		return err
	}
	for {
		if _, err = c.Get(ctx, "ready"); err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// client is that of a caller, which asks one member.
func (e *etcd) client(i int) (*clientv3.Client, error) {
	for len(e.clients) <= i {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{e.endpoints[len(e.clients)%members]},
			Logger: zap.NewNop(), MaxCallSendMsgSize: maxRequest, DialTimeout: startLimit})
		if err != nil {
			return nil, err
		}
		e.clients = append(e.clients, c)
	}
	return e.clients[i], nil
}

func (e *etcd) measure(ctx context.Context, j job) (load.Row, error) {
	if e.serializable && j.op != "get" {
		return load.Row{}, fmt.Errorf("only gets differ")
	}
	for i := range j.callers {
		if _, err := e.client(i); err != nil {
			return load.Row{}, err
		}
	}
	prefix := fmt.Sprintf("%s-%d-%d/", e.name(), e.prefix.Add(1), rand.Uint32())
	row, err := e.do(ctx, j, prefix)
	if err != nil {
		return load.Row{}, err
	}
	_, err = e.clients[0].Delete(ctx, prefix, clientv3.WithPrefix())
	return row, err
}

func (e *etcd) do(ctx context.Context, j job, prefix string) (load.Row, error) {
	value := string(bytes.Repeat([]byte("ab"), j.size/2+1)[:j.size])
	l := load.Load{Callers: j.callers, Warmup: time.Second, Length: time.Duration(e.o.each) * time.Millisecond,
		Servers: e.members.pids(), Bytes: j.size, Each: j.batch}
	key := func(i int64) string { return fmt.Sprintf("%s%08d", prefix, i) }
	var next atomic.Int64
	if j.op == "put" {
		return l.Run(ctx, func(ctx context.Context, caller int) error {
			_, err := e.clients[caller].Put(ctx, key(next.Add(1)), value)
			return err
		})
	}
	if err := e.fill(ctx, j.objects, key, value); err != nil {
		return load.Row{}, err
	}
	if err := e.catchUp(ctx, prefix); err != nil {
		return load.Row{}, err
	}
	if j.op == "delete" {
		l.Warmup = 0 // there are only so many
		return l.Run(ctx, func(ctx context.Context, caller int) error {
			first := next.Add(int64(j.batch)) - int64(j.batch)
			if first+int64(j.batch) > int64(j.objects) {
				return load.ErrSpent
			}
			return e.remove(ctx, e.clients[caller], j.batch, func(i int) string { return key(first + int64(i)) })
		})
	}
	var options []clientv3.OpOption
	if e.serializable {
		options = append(options, clientv3.WithSerializable())
	}
	return l.Run(ctx, func(ctx context.Context, caller int) error {
		reply, err := e.clients[caller].Get(ctx, key(rand.Int64N(int64(j.objects))), options...)
		if err == nil && (len(reply.Kvs) != 1 || len(reply.Kvs[0].Value) != j.size) {
			err = fmt.Errorf("%d keys were found, want one of %d bytes", len(reply.Kvs), j.size)
		}
		return err
	})
}

// fill puts the objects that are read or deleted.
func (e *etcd) fill(ctx context.Context, objects int, key func(int64) string, value string) error {
	var next atomic.Int64
	l := load.Load{Callers: min(fillAtOnce, len(e.clients)), Length: 100 * endAfter}
	_, err := l.Run(ctx, func(ctx context.Context, caller int) error {
		i := next.Add(1) - 1
		if i >= int64(objects) {
			return load.ErrSpent
		}
		_, err := e.clients[caller].Put(ctx, key(i), value)
		return err
	})
	return err
}

// catchUp waits until each member that is asked has what was put: a read of one member alone may be older than that.
func (e *etcd) catchUp(ctx context.Context, prefix string) error {
	for _, c := range e.clients[:min(members, len(e.clients))] {
		if _, err := c.Get(ctx, prefix); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes objects, in one transaction if they are several.
func (e *etcd) remove(ctx context.Context, c *clientv3.Client, count int, key func(int) string) error {
	if count == 1 {
		reply, err := c.Delete(ctx, key(0))
		if err == nil && reply.Deleted != 1 {
			err = fmt.Errorf("%d keys were deleted, want 1", reply.Deleted)
		}
		return err
	}
	var ops []clientv3.Op
	for i := range count {
		ops = append(ops, clientv3.OpDelete(key(i)))
	}
	_, err := c.Txn(ctx).Then(ops...).Commit()
	return err
}
