# SPDX-License-Identifier: MIT
"""The file systems that are compared: how each is made, mounted and unmounted. All else is the same for all."""
import os
import subprocess
import sys
import time

from workdir import Failure, command, end_daemons, loops_of, mounts_at, pids_with

UMOUNT_S = 180
DAEMON_END_S = 60
TICKS = os.sysconf("SC_CLK_TCK")


class Peer:
    """One volume: an image file in the work folder and the place where it is mounted."""

    name = ""
    program = None  # the daemon, if there is one
    wants_image = True  # mkfs wants the image file to exist already

    def __init__(self, work, options):
        self.work = work
        self.options = options
        self.image = os.path.join(work.image_root, self.name + ".img")
        self.point = os.path.join(work.mount_root, self.name)
        self.warned = False
        self.extra = options.mount_options.get(self.name)

    def missing(self):
        """None, or why this peer can't run here."""
        return next((f"no {tool}" for tool in self.tools() if not tool_path(tool)), None)

    def make(self):
        """A fresh volume, mounted."""
        os.makedirs(self.point, exist_ok=True)
        if self.options.prealloc:
            self.write_image()
        elif self.wants_image:
            with open(self.image, "wb") as file:
                file.truncate(self.options.size_bytes)
        self.mkfs()
        if self.options.prealloc and not self.is_allocated() and not self.warned:
            self.warned = True
            print(f"{self.name}: mkfs or the file system gave back blocks of the image", file=sys.stderr)
        self.mount()

    def prepare(self):
        """What may be done once, before the first round."""
        if self.options.prealloc:
            self.write_image()

    def write_image(self):
        """Every block of the image written, once a run. Not zeros, which somebody below might elide."""
        if os.path.exists(self.image) and self.is_allocated():
            return
        block = os.urandom(1 << 20)
        with open(self.image, "wb") as file:
            for _ in range(self.options.size_bytes >> 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def is_allocated(self):
        status = os.stat(self.image)
        return status.st_blocks * 512 >= status.st_size

    def unmount(self):
        self.run_umount()
        self.wait_daemon()

    def run_umount(self):
        """umount can wait for the daemon where no signal reaches it; then only the daemon's end helps."""
        process = subprocess.Popen(["umount", self.point], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        try:
            said, _ = process.communicate(timeout=UMOUNT_S)
        except subprocess.TimeoutExpired:
            self.end_daemons()
            process.communicate()
            raise Failure(f"umount did not return within {UMOUNT_S} s") from None
        if process.returncode:
            raise Failure(f"umount ended with {process.returncode}: {said.strip()}")

    def end_daemons(self):
        if self.program:
            end_daemons(self.image, self.program)

    def wait_daemon(self):
        deadline = time.monotonic() + DAEMON_END_S
        while self.daemon_pids():
            if time.monotonic() > deadline:
                raise Failure(f"{self.program} still ran {DAEMON_END_S} s after umount")
            time.sleep(0.01)

    def remove(self):
        """Whatever state it is in: unmounted, no daemon, no loop device, no sparse image. Never fails."""
        try:
            if self.point in mounts_at(self.point):
                self.run_umount()
            self.wait_daemon()
        except Failure:
            self.end_daemons()
            subprocess.run(["umount", "-l", self.point], capture_output=True, check=False)
        try:
            for device in loops_of(self.image):
                subprocess.run(["losetup", "-d", device], capture_output=True, check=False)
            if not self.options.prealloc:
                os.unlink(self.image)
        except (Failure, FileNotFoundError):
            pass

    def is_mounted(self):
        try:
            os.statvfs(self.point)
        except OSError:
            return False
        return self.point in mounts_at(self.point)

    def daemon_pids(self):
        return pids_with(self.image, self.program) if self.program else []

    def daemon_cpu(self):
        """User and system seconds of the daemon so far."""
        user = system = 0.0
        for pid in self.daemon_pids():
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            user += int(fields[11]) / TICKS
            system += int(fields[12]) / TICKS
        return user, system

    def with_options(self, *words):
        return [*words, "-o", self.extra] if self.extra else list(words)


class Ext4(Peer):
    name = "ext4"

    def tools(self):
        return ["mkfs.ext4", "losetup"]

    def mkfs(self):
        # By itself mkfs.ext4 empties the image by punching holes, and so has no inode tables to zero. In an image that stays
        # written it zeroes them here, else the kernel would do that while we measure.
        extra = ["-E", "nodiscard,lazy_itable_init=0"] if self.options.prealloc else []
        command("mkfs.ext4", "-q", "-F", *extra, self.image)

    def mount(self):
        if not self.options.loop_dio:
            extra = f",{self.extra}" if self.extra else ""
            command("mount", "-t", "ext4", "-o", "loop" + extra, self.image, self.point)
            return
        device = command("losetup", "--direct-io=on", "--find", "--show", self.image).strip()
        command(*self.with_options("mount", "-t", "ext4"), device, self.point)

    def unmount(self):
        super().unmount()
        deadline = time.monotonic() + DAEMON_END_S
        while devices := loops_of(self.image):
            for device in devices:
                subprocess.run(["losetup", "-d", device], capture_output=True, check=False)
            if time.monotonic() > deadline:
                raise Failure("the loop device can't be detached")
            time.sleep(0.01)


class Fuse2fs(Peer):
    name = "fuse2fs"
    program = "fuse2fs"

    def tools(self):
        return ["mkfs.ext4", "fuse2fs"]

    def mkfs(self):
        Ext4.mkfs(self)

    def mount(self):
        extra = f",{self.extra}" if self.extra else ""
        command("fuse2fs", self.image, self.point, "-o", "fakeroot,rw" + extra)
        wait_mounted(self)


class Knotfs(Peer):
    name = "knotfs"
    program = "knotfs"
    wants_image = False

    def tools(self):
        folder = self.options.build_dir
        return [os.path.join(folder, "bin", tool) for tool in ("mkfs.knotfs", "knotfs")] if folder else ["knotfs"]

    def missing(self):
        if not self.options.build_dir:
            return "no build found, say --build-dir DIR"
        return super().missing()

    def mkfs(self):
        mkfs = self.tools()[0]
        if self.options.prealloc:
            command(mkfs, "-q", "-f", self.image)
        else:
            command(mkfs, "-q", "--size", str(self.options.size_bytes), self.image)

    def mount(self):
        # To files, not pipes: a daemon that keeps its standard error open must not keep us waiting.
        with open(self.work.file("knotfs.log"), "w+", encoding="utf-8", errors="replace") as log:
            words = self.with_options(self.tools()[1], self.image, self.point)
            try:
                code = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=120,
                                      check=False).returncode
            except subprocess.TimeoutExpired:
                raise Failure("knotfs did not detach within 120 s") from None
            log.seek(0)
            said = log.read().strip().splitlines()
        if code:
            raise Failure(f"knotfs ended with {code}: {said[-1] if said else 'silent'}")
        wait_mounted(self)


def wait_mounted(peer):
    deadline = time.monotonic() + 10
    while not peer.is_mounted():
        if time.monotonic() > deadline:
            raise Failure(f"{peer.program} returned, but nothing is mounted")
        time.sleep(0.01)


def tool_path(tool):
    folders = [""] if os.path.isabs(tool) else os.environ.get("PATH", "").split(":") + ["/usr/sbin", "/sbin"]
    return next((path for folder in folders if os.access(path := os.path.join(folder, tool), os.X_OK)), None)


PEERS = {peer.name: peer for peer in (Knotfs, Ext4, Fuse2fs)}
