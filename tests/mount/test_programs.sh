#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Real programs on a real mount: tar, diff, rsync, cp, git, SQLite, mmap, executing, cmake. KNOT_LONG=1: with as much as
# the promises say (a tree of 15,000 files and more, all unit tests).
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

long=${KNOT_LONG:-}

# Names, types, modes, owners, sizes, targets, link counts and times of everything under a folder.
listing() {
	(cd "$1" && find . -printf '%p %y %m %U:%G %l %n %T@ ' \( -type d -printf '\n' -o -printf '%s\n' \) | LC_ALL=C sort)
}

same_tree() {
	diff -r --no-dereference "$1" "$2" >differences 2>&1 || fail "$3: contents: $(head -n 5 differences | cut -c 1-300)"
	diff <(listing "$1") <(listing "$2") >differences || fail "$3: attributes: $(head -n 5 differences | cut -c 1-300)"
}

remount() {
	unmount_it
	mount_it "${1:-}"
}

# A tree of real files in $work/tree.tar and, unpacked, in $work/tree.
real_tree() {
	local count=3000 sources=(/usr/include /usr/lib/python3 /usr/lib/git-core /usr/share/doc /usr/share /usr/lib)

	[ -z "$long" ] || count=16000
	find "${sources[@]}" -xdev \( -type f -size -2000k -o -type d -o -type l \) -readable 2>/dev/null |
		awk '!seen[$0]++' | head -n "$count" >names
	tar -cf tree.tar --no-recursion -T names 2>/dev/null || fail "tar"
	mkdir tree
	tar -xpf tree.tar -C tree
	# what /usr has little of
	ln "$(find tree -type f | head -n 1)" tree/hard-link
	ln -s "$(printf '%03000d' 0)" tree/long-symlink
	truncate -s 10M tree/sparse
	printf end >>tree/sparse
	chmod 2755 tree/usr
	tar --format=posix -cf tree.tar -C tree .
}

a_real_tree_is_unpacked_and_equal() {
	local options

	for options in data=ordered data=strict,cache=32M; do
		new_image 1G
		mount_it "$options"
		mkdir "$dir/tree"
		tar -xpf tree.tar -C "$dir/tree" || fail "untar"
		same_tree tree "$dir/tree" "$options, just written"
		remount "$options"
		same_tree tree "$dir/tree" "$options, after a mount"
		[ -n "$long" ] || [ "$options" = data=ordered ] || { unmount_it; fsck_is_clean "$options"; continue; }
		cp -a "$dir/tree" "$dir/copy" || fail "cp -a"
		rsync -aH --delete "$dir/tree/" "$dir/synced/" || fail "rsync"
		rsync -acH --delete --itemize-changes "$work/tree/" "$dir/synced/" >changes
		[ ! -s changes ] || fail "rsync sees changes: $(head -n 3 changes)"
		remount "$options"
		same_tree tree "$dir/copy" "$options, cp -a"
		same_tree tree "$dir/synced" "$options, rsync"
		rm -rf "$dir/tree" "$dir/copy" || fail "rm"
		unmount_it
		fsck_is_clean "$options" || return
	done
	echo "    $(wc -l <names) names, $(du -sh --apparent-size tree | cut -f 1)"
}

git_is_content() {
	local i

	new_image 512M
	mount_it
	export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t GIT_CONFIG_GLOBAL=/dev/null
	mkdir origin && cp -r "$KNOT_SOURCE_DIR"/{fs,docs,include} origin/
	find origin -type d -empty -delete
	git init -q origin
	for i in 1 2 3 4 5; do
		echo "$i" >"origin/round$i"
		git -C origin add -A && git -C origin commit -qm "round $i" || fail "commit"
	done
	git clone -q --no-hardlinks "$work/origin" "$dir/clone" || fail "clone"
	git -C "$dir/clone" fsck --full --strict >out 2>&1 || fail "git fsck: $(cat out)"
	for i in 1 2 3; do
		cp "$KNOT_SOURCE_DIR"/README.md "$dir/clone/file$i"
		git -C "$dir/clone" add -A
		git -C "$dir/clone" commit -qm "here $i" || fail "commit on the mount"
	done
	git -C "$dir/clone" gc -q --aggressive --prune=now 2>out || fail "git gc: $(cat out)"
	remount
	git -C "$dir/clone" fsck --full --strict >out 2>&1 || fail "git fsck after a mount: $(cat out)"
	[ -z "$(git -C "$dir/clone" status --porcelain)" ] || fail "status: $(git -C "$dir/clone" status --porcelain | head)"
	diff -r -x .git origin/fs "$dir/clone/fs" || fail "the clone differs"
	unmount_it
	fsck_is_clean
	rm -rf origin
}

sqlite_commits_a_thousand_times() {
	local mode count=1000 options

	command -v sqlite3 >/dev/null || { echo "    no sqlite3"; return; }
	for options in data=ordered data=strict; do
		new_image 256M
		mount_it "$options"
		for mode in delete wal truncate; do
			[ $mode != truncate ] || [ -n "$long" ] || continue
			{
				echo "pragma journal_mode=$mode; pragma synchronous=full; create table t (k integer primary key, v blob);"
				seq $count | awk '{ print "begin; insert into t values (" $1 ", randomblob(" ($1 * 37) % 3000 + 1 \
					")); update t set v = randomblob(100) where k = " int($1 / 2) "; commit;" }'
			} | sqlite3 "$dir/$mode.db" >/dev/null 2>err || fail "$options, $mode: $(cat err)"
		done
		remount "$options"
		for mode in delete wal truncate; do
			[ -e "$dir/$mode.db" ] || continue
			[ "$(sqlite3 "$dir/$mode.db" 'pragma integrity_check; select count(*), max(k) from t')" = \
				"$(printf 'ok\n%s|%s' $count $count)" ] || fail "$options, $mode: not intact"
		done
		unmount_it
		fsck_is_clean "$options"
	done
}

# The database is killed with the daemon, in the middle.
sqlite_survives_kill_9() {
	local mode committed found

	command -v sqlite3 >/dev/null || return 0
	new_image 128M
	for mode in delete wal; do
		mount_it
		sqlite3 "$dir/$mode.db" "pragma journal_mode=$mode; pragma synchronous=full; create table t (k integer primary key, v)" \
			>/dev/null
		# What was committed is told line by line.
		seq 100000 | awk '{ print "insert into t values (" $1 ", randomblob(" ($1 * 37) % 3000 + 1 ")); select " $1 ";" }' |
			sqlite3 -bail "$dir/$mode.db" 2>/dev/null >committed &
		sleep 1
		kill_daemon
		wait
		committed=$(tail -n 1 committed)
		mount_it
		found=$(sqlite3 "$dir/$mode.db" "pragma integrity_check; select max(k) from t" | paste -sd ' ')
		[[ $found == "ok "* && ${found#ok } -ge ${committed:-0} && ${found#ok } -le $((committed + 1)) ]] ||
			fail "$mode: $committed were committed, found: $found"
		echo "    $mode: killed after $committed transactions, all there"
		unmount_it
		fsck_is_clean "$mode"
	done
}

programs_run_and_map_files() {
	new_image 128M
	mount_it
	cp "$(command -v ls)" "$dir/ls"
	"$dir/ls" -la "$dir" >/dev/null || fail "executing"
	cp "$tools/tool_full" "$dir/busy"
	"$dir/busy" >/dev/null 2>&1
	[ $? -eq 2 ] || fail "executing our own"
	python3 - "$dir" <<'PY' || fail "mmap"
import mmap, os, sys
path = sys.argv[1] + "/mapped"
size = 5 * 1024 * 1024 + 123
with open(path, "w+b") as f:
    f.truncate(size)
    with mmap.mmap(f.fileno(), size) as m:
        for at in range(0, size - 8, 4099):
            m[at:at + 8] = at.to_bytes(8, "little")
        f.seek(4099 * 7)
        assert int.from_bytes(f.read(8), "little") == 4099 * 7          # mmap -> read
        os.pwrite(f.fileno(), b"written!", 4099 * 9)
        assert m[4099 * 9:4099 * 9 + 8] == b"written!"                    # write -> mmap
        m.flush()
    os.fsync(f.fileno())
PY
	remount
	python3 - "$dir" <<'PY' || fail "mmap after a mount"
import mmap, os, sys
with open(sys.argv[1] + "/mapped", "rb") as f:
    with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        for at in range(0, len(m) - 8, 4099):
            want = b"written!" if at == 4099 * 9 else at.to_bytes(8, "little")
            assert m[at:at + 8] == want, at
PY
	unmount_it
	fsck_is_clean
}

knotfs_is_built_and_tested_on_itself() {
	local targets=(test_super test_page test_log test_tree)

	command -v cmake ninja >/dev/null || { echo "    no cmake"; return; }
	new_image 2G
	mount_it
	mkdir "$dir/source"
	(cd "$KNOT_SOURCE_DIR" && tar -cf - --exclude=./build --exclude=./.git --exclude='*.img' --exclude='gmon.out' .) |
		tar -xf - -C "$dir/source" || fail "copying the source"
	[ -z "$long" ] || targets=(all)
	cmake -S "$dir/source" -B "$dir/build" -G Ninja -DCMAKE_BUILD_TYPE=Release >out 2>&1 || fail "cmake: $(tail -n 5 out)"
	ninja -C "$dir/build" "${targets[@]}" >out 2>&1 || { fail "building: $(grep -A 5 FAILED out | head -n 20)"; unmount_it; return; }
	if [ -n "$long" ]; then
		TMPDIR=$dir ctest --test-dir "$dir/build" -L unit -j2 >out 2>&1 || fail "ctest: $(tail -n 20 out)"
		grep "tests passed" out
	else
		for test in "${targets[@]}"; do
			(cd "$dir/build" && TMPDIR=$dir "tests/$test") >out 2>&1 || fail "$test: $(grep FAILED out)"
		done
	fi
	remount
	ninja -C "$dir/build" -d explain "${targets[@]}" >out 2>&1
	grep -q "no work to do" out || fail "ninja builds again after a mount: $(head -n 5 out)"
	unmount_it
	fsck_is_clean
}

real_tree
run_cases a_real_tree_is_unpacked_and_equal git_is_content sqlite_commits_a_thousand_times sqlite_survives_kill_9 \
	programs_run_and_map_files knotfs_is_built_and_tested_on_itself
