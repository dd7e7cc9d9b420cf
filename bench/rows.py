# SPDX-License-Identifier: MIT
"""What is measured. A group is a fresh volume and the rows that run on it one after another."""
import os
import sys
import time
from dataclasses import dataclass, field

from workdir import HERE, Failure, children_cpu, client, drop_caches, mounts_at

SIZES = {  # full, quick
    "tree_files": (18000, 3000),
    "create_files": (20000, 4000),
    "fsync_files": (2000, 300),
    "appends": (3000, 500),
    "transactions": (1000, 200),
    "mebibytes": (1024, 256),
    "warm_passes": (5, 5),
}


@dataclass(frozen=True)
class Row:
    name: str
    unit: str  # "s": show seconds, "/s": things a second, "MiB/s"
    what: str
    target_ext4: float  # the least speed against ext4; 0: shown only, not judged


FSYNC, OTHER = 1.0, 0.4
ROWS = {row.name: row for row in (
    Row("untar", "s", "tar -x of a real tree, and sync", OTHER),
    Row("walk_cold", "s", "list and lstat all of it, after a remount", OTHER),
    Row("walk_warm", "s", "the same again, cached", OTHER),
    Row("rm", "s", "rm -rf of the tree, and sync", OTHER),
    Row("create", "/s", "create and close empty files in one folder", OTHER),
    Row("create_sync", "/s", "the same, with a sync at the end", 0),
    Row("create_fsync", "/s", "create, write 4 KiB, fsync, close", FSYNC),
    Row("append_fsync", "/s", "append 100 bytes, fsync", FSYNC),
    Row("sqlite_rollback", "/s", "SQLite transactions, rollback journal, synchronous=full", FSYNC),
    Row("sqlite_wal", "/s", "SQLite transactions, WAL, synchronous=full", FSYNC),
    Row("write", "MiB/s", "write one file in order, and fsync", OTHER),
    Row("read_cold", "MiB/s", "read it in order, after a remount", OTHER),
)}


@dataclass
class Sample:
    """One run of one row: `seconds` for `count` things, or the reason why not."""

    seconds: float = 0.0
    count: int = 0
    error: str = ""
    cpu: dict = field(default_factory=dict)  # who -> (user seconds, system seconds)


class Session:
    """One peer with a volume mounted, while the rows of one group run on it."""

    def __init__(self, peer, work, options, report):
        self.peer, self.work, self.options, self.report = peer, work, options, report
        self.timeout_s = options.timeout
        self.sizes = {name: pair[options.quick] for name, pair in SIZES.items()}

    def path(self, name):
        return os.path.join(self.peer.point, name)

    def helper(self, *words):
        return client([self.work.helper(), *map(str, words)], self.timeout_s)

    def settle(self, memory_mib):
        """Nothing left to write from what came before, and memory at hand: the next row pays only for itself."""
        if self.peer.point not in mounts_at(self.peer.point):
            raise Failure("not mounted")
        self.helper("sync", self.peer.point)
        os.sync()
        self.helper("memory", min(memory_mib, available_mib() // 2))

    def remount_cold(self):
        self.peer.unmount()
        drop_caches()
        self.peer.mount()

    def row(self, name, action, memory_mib=256):
        """Measure one row. A failure is this row's result; it is raised so that rows that build on it are not run."""
        sample = Sample()
        try:
            self.settle(memory_mib)
            client_before, daemon_before, busy_before = children_cpu(), self.peer.daemon_cpu(), machine_busy()
            started = time.monotonic()
            try:
                sample.seconds, sample.count = action()
            finally:
                elapsed = time.monotonic() - started
                sample.cpu = {"daemon": minus(self.peer.daemon_cpu(), daemon_before),
                              "client": minus(children_cpu(), client_before),
                              "machine": minus(machine_busy(), busy_before), "elapsed": elapsed}
        except Failure as failure:
            sample.error = str(failure)
        self.report(name, self.peer.name, sample)
        if sample.error:
            raise Failure(f"{name} failed")
        return sample


def available_mib():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) >> 10 for line in file if line.startswith("MemAvailable"))


def minus(after, before):
    return tuple(round(a - b, 3) for a, b in zip(after, before))


def machine_busy():
    """User and system seconds of the whole machine: also the kernel's own threads, and other people's work."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in file.readline().split()[1:]]
    return ticks[0] + ticks[1], ticks[2] + ticks[5] + ticks[6]


def expect(have, want, what):
    if have != want:
        raise Failure(f"{what}: {have} instead of {want}")


def group_tree(session):
    tar, entries = session.work.tree(session.sizes["tree_files"])
    tree = session.path("tree")

    def untar():
        with open(tar, "rb") as file:  # cached, so that reading it is not what is measured
            while file.read(1 << 20):
                pass
        seconds, _ = session.helper("spawn", session.peer.point, "tar", "-xf", tar, "-C", session.peer.point)
        return seconds, entries

    def walk(passes):
        seconds, count = session.helper("walk", tree, passes)
        expect(count, entries, "entries found")
        return seconds, count

    def walk_warm():
        session.helper("walk", tree, 1)
        return walk(session.sizes["warm_passes"])

    def rm():
        seconds, _ = session.helper("spawn", session.peer.point, "rm", "-rf", tree)
        if os.path.lexists(tree):
            raise Failure("the tree is still there")
        return seconds, entries

    session.row("untar", untar, 3 * os.path.getsize(tar) >> 20)
    session.remount_cold()
    session.row("walk_cold", lambda: walk(1))
    session.row("walk_warm", walk_warm)
    session.row("rm", rm)


def group_create(session):
    folder = session.path("folder")
    os.mkdir(folder)
    count = session.sizes["create_files"]
    session.row("create", lambda: session.helper("create", folder, count, 0))
    expect(len(os.listdir(folder)), count, "files listed")


def group_create_sync(session):
    """Apart from `create`: here the sync belongs to what is timed."""
    folder = session.path("folder")
    os.mkdir(folder)
    count = session.sizes["create_files"]

    def create_sync():
        seconds, _ = session.helper("create", folder, count, 0)
        return seconds + session.helper("sync", session.peer.point)[0], count

    session.row("create_sync", create_sync)


def group_create_fsync(session):
    folder = session.path("folder")
    os.mkdir(folder)
    session.row("create_fsync", lambda: session.helper("create", folder, session.sizes["fsync_files"], 4096))


def group_append_fsync(session):
    session.row("append_fsync", lambda: session.helper("append", session.path("log"), session.sizes["appends"], 100))


def sqlite(session, mode):
    words = [sys.executable, os.path.join(HERE, "sqlite_client.py"), mode, session.path("data.db")]
    return client([*words, str(session.sizes["transactions"])], session.timeout_s)


def group_sqlite_rollback(session):
    session.row("sqlite_rollback", lambda: sqlite(session, "delete"))


def group_sqlite_wal(session):
    session.row("sqlite_wal", lambda: sqlite(session, "wal"))


def group_stream(session):
    path, mebibytes = session.path("large"), session.sizes["mebibytes"]
    session.row("write", lambda: session.helper("write", path, mebibytes), 3 * mebibytes)
    session.remount_cold()
    session.row("read_cold", lambda: session.helper("read", path, mebibytes), 3 * mebibytes)


GROUPS = (
    (("untar", "walk_cold", "walk_warm", "rm"), group_tree),
    (("create",), group_create),
    (("create_sync",), group_create_sync),
    (("create_fsync",), group_create_fsync),
    (("append_fsync",), group_append_fsync),
    (("sqlite_rollback",), group_sqlite_rollback),
    (("sqlite_wal",), group_sqlite_wal),
    (("write", "read_cold"), group_stream),
)
