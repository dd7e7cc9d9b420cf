# SPDX-License-Identifier: MIT
"""The work folder: lock, image files, mounts, the cached tree and the compiled client, and the cleaning up of it all."""
import errno
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TREE_ROOTS = ("/usr/include", "/usr/lib", "/usr/share")
TREE_FILE_MAX_BYTES = 4 << 20
TREE_MAX_BYTES = 400 << 20


class Failure(Exception):
    """A step that failed, with a reason for people."""


def command(*words, timeout=600):
    """Run a tool; its standard output. Failure carries the last line of what it said."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{os.path.basename(words[0])}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Failure(f"{os.path.basename(words[0])} ended with {done.returncode}: {said[-1] if said else 'silent'}")
    return done.stdout


def children_cpu():
    """User and system seconds of all clients that ended so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime, usage.ru_stime


def client(words, timeout_s, cwd=None):
    """Run a measuring client. Returns (seconds, count) as it printed them. Its process group is ended on a timeout."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                               text=True, start_new_session=True, cwd=cwd)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Failure(f"not done after {timeout_s} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                pass  # stuck inside the mount; it goes when the mount does
    if process.returncode:
        said = err.strip().splitlines()
        raise Failure("; ".join(said[-2:]) or f"the client ended with {process.returncode}")
    seconds, count = out.split()
    return float(seconds), int(count)


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3\n")


def mounts_at(prefix):
    """Mount points at or below `prefix`, the newest first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            point = line.split()[4].replace("\\040", " ")
            if point == prefix or point.startswith(prefix + "/"):
                found.append(point)
    return found[::-1]


def loops_of(image):
    return [line.split(":")[0] for line in command("losetup", "-j", image).splitlines()]


def pids_with(image, program):
    """Live processes of that program with `image` among their arguments (a zombie has none)."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if os.fsencode(image) in words[1:] and os.path.basename(words[0]) == program.encode():
            found.append(int(name))
    return found


class WorkDir:
    """One folder on the file system that is to be measured on. A lock keeps two runs apart."""

    def __init__(self, path):
        self.path = os.path.realpath(path)
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        if os.stat(self.path).st_uid != os.geteuid():
            raise Failure(f"{path} belongs to somebody else")
        self.lock = os.open(self.file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                raise
            raise Failure(f"another run is using {path}") from None
        self.mount_root = self.file("mnt")
        self.image_root = self.file("images")
        self.clean()

    def file(self, name):
        return os.path.join(self.path, name)

    def clean(self):
        """Leave no mount, daemon, loop device or image behind; also what an earlier run that was killed left."""
        names = os.listdir(self.image_root) if os.path.isdir(self.image_root) else []
        images = [os.path.join(self.image_root, name) for name in names]
        for image in images:  # the daemons first: umount would wait for one that is stuck
            for program in ("knotfs", "fuse2fs"):
                end_daemons(image, program)
        for flags in ([], ["-l"]):
            for point in mounts_at(self.mount_root):
                subprocess.run(["umount", *flags, point], capture_output=True, check=False)
        for image in images:
            for device in loops_of(image):
                subprocess.run(["losetup", "-d", device], capture_output=True, check=False)
        shutil.rmtree(self.image_root, ignore_errors=True)
        if os.path.isdir(self.mount_root):
            for name in os.listdir(self.mount_root):
                os.rmdir(os.path.join(self.mount_root, name))
        os.makedirs(self.image_root, exist_ok=True)
        os.makedirs(self.mount_root, exist_ok=True)

    def free_bytes(self):
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def helper(self):
        """The C client, compiled when its source is newer."""
        source, binary = os.path.join(HERE, "knot_bench.c"), self.file("knot_bench")
        if not os.path.exists(binary) or os.path.getmtime(binary) < os.path.getmtime(source):
            fresh = f"{binary}.{os.getpid()}"
            command(os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", fresh, source)
            os.replace(fresh, binary)
        return binary

    def tree(self, files_max):
        """The tar of a real tree, made once. Returns (path, entries in it)."""
        path = self.file(f"tree-{files_max}.tar")
        if not os.path.exists(path):
            print(f"making {path} from {', '.join(TREE_ROOTS)}", file=sys.stderr)
            fresh = f"{path}.{os.getpid()}"
            make_tree(fresh, files_max)
            os.replace(fresh, path)
        with tarfile.open(path) as archive:
            entries = sum(1 for _ in archive)
        return path, entries


def end_daemons(image, program):
    """Kill what serves this image and would not go by itself, and wait until it is gone."""
    for pid in pids_with(image, program):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    deadline = time.monotonic() + 10
    while pids_with(image, program) and time.monotonic() < deadline:
        time.sleep(0.05)


def tree_members(root, files_max, bytes_max):
    """Folders before what is in them, in a fixed order; stops after so many files."""
    files = size = 0
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield folder
        for name in sorted(names + [name for name in folders if os.path.islink(os.path.join(folder, name))]):
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if status.st_size > TREE_FILE_MAX_BYTES or (os.path.isfile(path) and not os.access(path, os.R_OK)):
                continue
            if files >= files_max or size + status.st_size > bytes_max:
                return
            files += 1
            size += status.st_size
            yield path


def make_tree(path, files_max):
    """A share of the files from each root; what the smaller ones lack the last one gives."""
    files = size = 0
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        archive.dereference = False
        for number, root in enumerate(TREE_ROOTS):
            roots_left = len(TREE_ROOTS) - number
            share, share_bytes = (files_max - files) // roots_left, (TREE_MAX_BYTES - size) // roots_left
            for member in tree_members(root, share, share_bytes):
                entry = archive.gettarinfo(member, os.path.join("tree", os.path.relpath(member, "/usr")))
                if entry is None or not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
                    continue
                if entry.isreg():
                    with open(member, "rb") as file:
                        archive.addfile(entry, file)
                else:
                    archive.addfile(entry)
                if not entry.isdir():
                    files += 1
                    size += entry.size
    print(f"{files} files, {size >> 20} MiB", file=sys.stderr)
