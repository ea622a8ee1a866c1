#!/usr/bin/env bash
# Go 1.26, Linux 6.18 (tmpfs, ext4, xfs, btrfs): what io.Copy has sent of a file can still change on its way.
#
# Expected: when io.Copy from a file to a TCP connection returns, the bytes have been read. Whoever changes the file
# from then on changes nothing of what the peer gets.
# Seen: Go uses sendfile, and the socket's queue holds the pages of the file, not their bytes. A write to the file after
# io.Copy has returned shows up at the peer in all that it has not received yet. So do the zeros of a hole that is
# punched then: of one of 20 KiB, 4 KiB on tmpfs and btrfs (its ends, in pages that stay), all 20 on ext4, and 24 on
# xfs, which wipes whole pages: 4 KiB that are still in the file, and were never to go, arrive as zeros. Through a
# writer that has no ReadFrom, the peer gets what was in the file.
# Why it matters: a store that checks a checksum, sends the range with sendfile, drops its lock, and then punches or
# rewrites what it need not keep, sends bytes that it never had, and the peer's checksum says that the network or the
# disk is bad. It needs a slow peer, so tests do not show it. Keep the range as it is until the peer has answered, or
# read what may change.
#
# Needs root (loop devices), Go, mkfs.ext4, mkfs.xfs, mkfs.btrfs (apt: e2fsprogs xfsprogs btrfs-progs); all stays in a
# temporary folder. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir"/*.mnt 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

const (
	size     = 64 << 10
	punchAt  = 10 << 10 // inside a page, as its end
	punchLen = 20 << 10
	hole     = 0x2 | 0x1 // FALLOC_FL_PUNCH_HOLE, FALLOC_FL_KEEP_SIZE
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// plain hides all of a connection but Write.
type plain struct{ io.Writer }

// received sends a file of As, changes it once that has returned, and gives what the peer reads after that.
func received(dir string, hide bool, change func(*os.File)) []byte {
	f, err := os.Create(filepath.Join(dir, "file"))
	must(err)
	defer f.Close()
	_, err = f.Write(bytes.Repeat([]byte("A"), size))
	must(err)
	must(f.Sync())
	_, err = f.Seek(0, io.SeekStart)
	must(err)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	peer, err := net.Dial("tcp", listener.Addr().String())
	must(err)
	defer peer.Close()
	conn, err := listener.Accept()
	must(err)
	var w io.Writer = conn
	if hide {
		w = plain{conn}
	}
	n, err := io.Copy(w, f)
	must(err)
	change(f)
	must(conn.Close())
	got, err := io.ReadAll(peer)
	must(err)
	if n != size || len(got) != size {
		panic(fmt.Sprintf("sent %d bytes, got %d, want %d", n, len(got), size))
	}
	return got
}

func overwrite(f *os.File) {
	_, err := f.WriteAt(bytes.Repeat([]byte("B"), size), 0)
	must(err)
}

func punch(f *os.File) { must(syscall.Fallocate(int(f.Fd()), hole, punchAt, punchLen)) }

func main() {
	changed := false
	for _, name := range []string{"tmpfs", "ext4", "xfs", "btrfs"} {
		dir := name + ".mnt"
		later := bytes.Count(received(dir, false, overwrite), []byte("B"))
		zeros := bytes.Count(received(dir, false, punch), []byte{0})
		plainLater := bytes.Count(received(dir, true, overwrite), []byte("B"))
		plainZeros := bytes.Count(received(dir, true, punch), []byte{0})
		fmt.Printf("%-5s  sendfile: %5d of %d bytes are of a later write, %5d zeros of a later hole of %d; else %d and %d\n",
			name, later, size, zeros, punchLen, plainLater, plainZeros)
		changed = changed || later != size || zeros == 0 || plainLater != 0 || plainZeros != 0 ||
			name == "xfs" && zeros <= punchLen
	}
	if changed {
		fmt.Println("changed: this is not what was seen with Go 1.26 on Linux 6.18")
		os.Exit(1)
	}
}
GO
cat >go.mod <<'MOD'
module finding

go 1.26
MOD
for fs in tmpfs ext4 xfs btrfs; do
	mkdir $fs.mnt
	if [ $fs = tmpfs ]; then
		mount -t tmpfs none $fs.mnt
	else
		truncate -s 600M $fs.img
		mkfs.$fs -q $fs.img >/dev/null 2>&1
		mount -o loop $fs.img $fs.mnt
	fi
done
go run .
