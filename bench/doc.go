// Command bench measures the product beside etcd: three processes of each on this machine, durable on the disks of all
// three, the same callers with a client each, in turns, so that no two are under load at once. It prints a table in
// Markdown: the median of the rounds, and the ratio of each round by itself, since a shared machine's speed drifts.
//
// It is a module of its own, so that what it compares with stays out of the product:
//
//	go build -o /tmp/datanode ../cmd/datanode && go run . --datanode now=/tmp/datanode
//
// Further builds are compared in the same turns: --datanode before=/tmp/old,now=/tmp/datanode. The last one's command
// line measures them all.
package main
