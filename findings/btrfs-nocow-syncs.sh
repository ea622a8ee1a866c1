#!/usr/bin/env bash
# Linux 6.18, btrfs (btrfs-progs 6.2): chattr +C hardly makes small synced writes cheaper.
#
# Expected: files of databases and logs on btrfs get chattr +C, so that blocks are written in place and not copied. An
# overwrite of 4 KiB with fdatasync should then write about what it does on xfs and ext4: 4 KiB.
# Seen: 72 KiB on a new file system, and 88 without +C; appends alike. What is written is not the data but the tree that
# makes each sync durable: some nodes of 16 KiB, twice, and two superblocks. So what helps is the size of a node and the
# number of its copies: with mkfs.btrfs -n 4096 -m single it is 16 to 25 KiB, with or without +C. All of them need two
# flushes of the disk, where an overwrite on xfs and ext4 needs one.
# Why it matters: +C is what is advised, and it takes away btrfs's checksums too. A log of small synced entries pays for
# it and gets nothing. A disk that is only for such a log should be another file system, or be made with small nodes.
#
# Needs root (loop devices), python3, mkfs.btrfs, mkfs.xfs, mkfs.ext4 (apt: e2fsprogs xfsprogs btrfs-progs); all stays
# in a temporary folder. Prints KiB that reach the device; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir/mnt" 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
mkdir mnt
cat >write.py <<'PY'
"""write.py FILE append|overwrite DEVICE: prints KiB written to the device, and its flushes, for each synced 4 KiB."""
import os, sys

name, how, device = sys.argv[1:]
count, block = 200, b"x" * 4096
file = os.open(name, os.O_CREAT | os.O_WRONLY, 0o600)
if how == "overwrite":
    os.pwrite(file, b"y" * (count * len(block)), 0)
    os.fsync(file)


def stat():
    fields = open(f"/sys/block/{device}/stat").read().split()
    return int(fields[6]) * 512, int(fields[15])  # sectors written, flushes


before = stat()
for i in range(count):
    os.pwrite(file, block, i * len(block))
    os.fdatasync(file)
after = stat()
print((after[0] - before[0]) // count // 1024, (after[1] - before[1]) // count)
PY

# try FILE-SYSTEM HOW chattr|plain OPTION…: sets kib.
try() {
	local fs=$1 how=$2 mark=$3 device flushes
	shift 3
	rm -f img
	truncate -s 2G img
	"mkfs.$fs" -q "$@" img >/dev/null 2>&1
	mount -o loop img mnt
	device=$(basename "$(findmnt -no SOURCE mnt)")
	mkdir mnt/files
	[ "$mark" = plain ] || chattr +C mnt/files
	python3 write.py mnt/files/one "$how" "$device" >figures
	read -r kib flushes <figures
	umount mnt
	printf '%-6s %-9s %-7s %-18s %4d KiB, %d flushes for 4 KiB\n' "$fs" "$how" "$mark" "$*" "$kib" "$flushes"
}

try xfs overwrite plain
xfs=$kib
try ext4 overwrite plain
ext4=$kib
changed=no
for how in overwrite append; do
	try btrfs $how plain
	plain=$kib
	try btrfs $how chattr
	marked=$kib
	try btrfs $how plain -n 4096 -m single
	small=$kib
	try btrfs $how chattr -n 4096 -m single
	[ $marked -gt $((10 * (xfs > ext4 ? xfs : ext4))) ] && [ $((2 * marked)) -gt "$plain" ] &&
		[ $((2 * small)) -lt "$plain" ] || changed=yes
done
if [ $changed = yes ]; then
	echo 'changed: this is not what was seen on Linux 6.18 with btrfs-progs 6.2'
	exit 1
fi
