#!/usr/bin/env bash
# Linux 6.18, ext4, xfs (xfsprogs 6.1), btrfs (btrfs-progs 6.2), tmpfs: ftruncate to the size that a file has already is
# no no-op: it gives back what fallocate has reserved beyond the end.
#
# Expected: truncate(2) says what happens to a file that is larger and to one that is shorter. One that has the size
# already should stay as it is.
# Seen: on all four file systems every block that FALLOC_FL_KEEP_SIZE had reserved beyond the end is free again, for
# anybody. The call returns 0, and stat shows it in st_blocks alone.
# Why it matters: a store of append-only files reserves room beyond the end so that an append cannot run out of it, and
# cuts a torn tail off with ftruncate when it opens a file again. If it does not compare the sizes first, each restart
# ends the reservation of every sound file in silence, and an append on a full disk fails that was promised its room. On
# the other hand it is the way to give such room back on purpose, when a file gets no more appends.
#
# Needs root (loop devices), mkfs.ext4, mkfs.xfs and mkfs.btrfs (apt: e2fsprogs xfsprogs btrfs-progs); all stays in a
# temporary folder. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir"/*.mnt 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
reserved=$((64 << 20))
bad=0
for fs in ext4 xfs btrfs tmpfs; do
	mkdir $fs.mnt
	if [ $fs = tmpfs ]; then
		mount -t tmpfs none $fs.mnt
	else
		truncate -s 600M $fs.img
		mkfs.$fs -q $fs.img >/dev/null 2>&1
		mount -o loop $fs.img $fs.mnt
	fi
	file=$fs.mnt/extent
	head -c 12288 /dev/urandom >$file
	fallocate --keep-size --offset 0 --length $reserved $file
	sync -f $file
	before=$(stat -c %b $file)
	truncate -s 12288 $file
	sync -f $file
	after=$(stat -c %b $file)
	printf '%-5s  size 12288, blocks of 512 bytes: %d with the reservation, %d after ftruncate to 12288\n' \
		$fs "$before" "$after"
	[ "$before" -ge $((reserved / 512)) ] && [ "$after" -lt $((1 << 20 >> 9)) ] || bad=1
done
[ $bad = 0 ] || { echo "this is not what was seen"; exit 1; }
