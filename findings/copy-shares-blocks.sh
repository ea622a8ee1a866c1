#!/usr/bin/env bash
# Go 1.26, Linux 6.18, xfs (xfsprogs 6.1), btrfs (btrfs-progs 6.2): io.Copy of one file to another makes no second copy
# of the bytes, and gives the copy's space back for nothing that is punched.
#
# Expected: io.Copy reads and writes. After it, and a sync, the bytes are on the disk twice: a bad sector breaks one of
# the files, and a hole that is punched into the original gives its blocks back.
# Seen: between two files Go uses copy_file_range, and on xfs and btrfs the kernel answers that by sharing the blocks.
# The copy takes no space. One block of the disk that goes bad is bad in both files: on xfs both have the same wrong
# byte, on btrfs neither can be read. Punching all of the original gives nothing back until the copy is gone too. On
# ext4 the bytes are there twice. Wrapping the writer, so that it has no ReadFrom, makes a real copy on all three.
# Why it matters: a program that keeps a second copy against rot on the same file system (of a snapshot of a log, of a
# file that it is about to rewrite) has one copy. And a store that punches deleted ranges while a backup made this way
# exists has its space accounts wrong: nothing comes back, though st_blocks of the punched file falls.
#
# Needs root (loop devices), Go, mkfs.ext4, mkfs.xfs, mkfs.btrfs and filefrag (apt: e2fsprogs xfsprogs btrfs-progs); all
# stays in a temporary folder. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir"/*.mnt 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"io"
	"os"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// plain hides all of a file but Write.
type plain struct{ io.Writer }

func main() {
	from, err := os.Open(os.Args[2])
	must(err)
	to, err := os.Create(os.Args[3])
	must(err)
	var w io.Writer = to
	if os.Args[1] == "plain" {
		w = plain{to}
	}
	_, err = io.Copy(w, from)
	must(err)
	must(to.Sync())
	must(to.Close())
}
GO
cat >go.mod <<'MOD'
module finding

go 1.26
MOD
go build -o copy .

size=$((16 << 20))
# used prints the KiB that a file system has in use.
used() { sync -f "$1" && df -k --output=used "$1" | tail -1 | tr -d ' '; }
# sum prints the sum of a file, or "unreadable".
sum() { sha256sum <"$1" 2>/dev/null | cut -c1-12 | grep . || echo unreadable; }

try() { # FILE-SYSTEM HOW
	local fs=$1 how=$2 mnt=$1-$2.mnt img=$1-$2.img
	mkdir "$mnt"
	truncate -s 600M "$img"
	case $fs in
	btrfs) mkfs.btrfs -q -d single -m single "$img" >/dev/null 2>&1 ;;
	*) "mkfs.$fs" -q "$img" >/dev/null 2>&1 ;;
	esac
	mount -o loop "$img" "$mnt"
	head -c $size /dev/urandom >"$mnt/one"
	local before after before_punch freed block good one two
	before=$(used "$mnt")
	./copy "$how" "$mnt/one" "$mnt/two"
	after=$(used "$mnt")
	# The first block of the file, where it lies on the disk, in blocks of 4 KiB.
	block=$(filefrag -v -b4096 "$mnt/one" | awk '$1 == "0:" { sub(/\.\..*/, "", $4); print $4 }')
	good=$(sum "$mnt/one")
	umount "$mnt"
	if [ $fs = btrfs ]; then
		# btrfs addresses: the offset on the device is what its chunk tree says.
		block=$(btrfs-map-logical -l $((block * 4096)) "$img" | awk '/physical/ { print $6 / 4096; exit }')
	fi
	head -c 4096 /dev/zero | dd of="$img" bs=4096 seek="$block" conv=notrunc status=none
	mount -o loop "$img" "$mnt"
	one=bad two=bad
	[ "$(sum "$mnt/one")" != "$good" ] || one=good
	[ "$(sum "$mnt/two")" != "$good" ] || two=good
	before_punch=$(used "$mnt")
	fallocate -p -o 0 -l $size "$mnt/one"
	[ "$(stat -c %b "$mnt/one")" -le 16 ]
	freed=$((before_punch - $(used "$mnt")))
	umount "$mnt"
	printf '%-6s %-6s copying %d KiB took %6d KiB; one bad block: original %s, copy %s; a punch gave back %6d KiB\n' \
		"$fs" "$how" $((size >> 10)) $((after - before)) $one $two $freed
	shared=no
	[ $((after - before)) -gt $((size >> 11)) ] || [ $freed -gt $((size >> 11)) ] || [ $one$two != badbad ] || shared=yes
}

changed=no
expect() { # FILE-SYSTEM HOW SHARED
	try "$1" "$2"
	[ $shared = "$3" ] || changed=yes
}
for fs in xfs btrfs; do
	expect $fs copy yes
	expect $fs plain no
done
expect ext4 copy no
if [ $changed = yes ]; then
	echo 'changed: this is not what was seen with Go 1.26 on Linux 6.18'
	exit 1
fi
