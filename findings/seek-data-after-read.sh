#!/usr/bin/env bash
# Linux 6.18, ext4 and xfs (xfsprogs 6.1): reading room that fallocate has reserved makes lseek(SEEK_DATA) call it
# data, until the page cache forgets it. On btrfs (btrfs-progs 6.2) and tmpfs it is a hole before and after.
#
# Expected: SEEK_DATA and SEEK_HOLE tell what was written from what was not. lseek(2) leaves it to the file system what
# it calls a hole; that the answer depends on who has read the file is said nowhere.
# Seen: of a file of 1 MiB of reserved room with 8 KiB written, SEEK_DATA names these 8 KiB. After somebody has read 64
# KiB in the middle, it names them too, though nothing was written; an fsync does not change that. Once the cache lets
# go of the pages it is as before. For an unwritten block that is in the cache these file systems ask the cache, and
# pages of zeros that were read count as well as pages that were written.
# Why it matters: a store that reserves room for its files cannot find the end of what it wrote by SEEK_DATA: a scrub,
# a backup or a copy that reads the file to its end moves that end, on one of two equal replicas. Two calls a moment
# apart may differ without a write between them. Tools that copy sparse files write such zeros out, and take the room.
#
# Needs root (loop devices), Python 3, mkfs.ext4, mkfs.xfs and mkfs.btrfs (apt: e2fsprogs xfsprogs btrfs-progs); all
# stays in a temporary folder. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir"/*.mnt 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
cat >seek.py <<'PY'
import os, sys

SIZE = 1 << 20


def data_kib(fd):
    runs, at = [], 0
    while at < SIZE:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: no data behind
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        runs.append((start >> 10, at >> 10))
    return runs


fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.posix_fallocate(fd, 0, SIZE)
os.pwrite(fd, b"x" * 8192, 0)
os.fsync(fd)
seen = [data_kib(fd)]
os.pread(fd, 65536, 512 << 10)
os.fsync(fd)
seen.append(data_kib(fd))
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
seen.append(data_kib(fd))
print(f"{sys.argv[2]:6} data, in KiB: {seen[0]} written, {seen[1]} after a read, {seen[2]} out of the cache")
read = [(512, 576)] if sys.argv[2] in ("ext4", "xfs") else []
sys.exit(seen != [[(0, 8)], [(0, 8)] + read, [(0, 8)]])
PY
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
	python3 seek.py $fs.mnt/extent $fs || bad=1
done
[ $bad = 0 ] || { echo "this is not what was seen"; exit 1; }
