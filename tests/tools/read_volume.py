#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Read a knotfs volume with nothing but docs/FORMAT.md: replay its log in memory, list it, check its invariants.

usage: read_volume.py [--check] IMAGE     one line a name; --check: all of section 14, too
       read_volume.py --examples          compute the examples of the document

A line: inode mode links owner group size device mtime SHA-256-of-contents path. `links` as st_nlink, mode in octal,
bytes of the path that are not printable as %XX, "-" for what has no contents. Lines that begin with # tell what was found.
Section numbers in comments are those of docs/FORMAT.md. Exit status 1: damage, with a line that says what and where.
"""
import hashlib
import struct
import sys

PAGE = 4096
GROUP = 16384
M32 = 0xFFFFFFFF
M64 = 0xFFFFFFFFFFFFFFFF
LSN_FIRST = 8704
SUPER, HEADER, TABLE, CHECKS, STATE, TREE = (int.from_bytes(t, "little")
                                             for t in (b"KNSB", b"KNGH", b"KNGT", b"KNPC", b"KNST", b"KNTR"))
INODE, PARENT, INLINE, EXTENT, ENTRY, ORPHAN, TRUNCATION = 1, 2, 4, 5, 6, 8, 9
DIRECTORY, REGULAR, SYMLINK = 0o040000, 0o100000, 0o120000
BYTES, IMAGE, FREE, END_MTR, END_BATCH, DURABLE = 1, 2, 3, 4, 5, 6
STRICT, CLEAN = 1, 2


class Damage(Exception):
    """The volume breaks a rule of the document."""


def require(condition, text):
    if not condition:
        raise Damage(text)


# ---- section 2: check values ------------------------------------------------------------------------------------------


def crc_table():
    """What two raw steps make of each state of 16 bits."""
    table = []
    for state in range(65536):
        for _ in range(16):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
        table.append(state)
    return table


CRC = crc_table()


def raw(state, data):
    even = len(data) & ~1
    for word in struct.unpack("<%dH" % (even // 2), data[:even]):
        state = CRC[(state ^ word) & 0xFFFF] ^ (state >> 16)
    if even != len(data):
        state ^= data[even]
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state


def page_check(seed, page):
    return raw(raw(seed, bytes(32)), page[32:]) ^ M32


def data_check(seed, number, page):
    return raw(raw(seed, struct.pack("<Q", number)), page) ^ M32


def block_check(seed, block):
    return raw(seed, block[:508]) ^ M32


def slot_check(seed, slot):
    return raw(seed, slot[:4] + bytes(4) + slot[8:2048]) ^ M32


# ---- section 9.2: name hash --------------------------------------------------------------------------------------------


def rot(value, by):
    return ((value << by) | (value >> (64 - by))) & M64


def sip_rounds(v, count):
    v0, v1, v2, v3 = v
    for _ in range(count):
        v0 = (v0 + v1) & M64
        v1 = rot(v1, 13) ^ v0
        v0 = rot(v0, 32)
        v2 = (v2 + v3) & M64
        v3 = rot(v3, 16) ^ v2
        v0 = (v0 + v3) & M64
        v3 = rot(v3, 21) ^ v0
        v2 = (v2 + v1) & M64
        v1 = rot(v1, 17) ^ v2
        v2 = rot(v2, 32)
    return [v0, v1, v2, v3]


def siphash(key, text):
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = text + bytes(-(len(text) + 1) % 8) + bytes([len(text) & 255])
    for (m,) in struct.iter_unpack("<Q", padded):
        v[3] ^= m
        v = sip_rounds(v, 2)
        v[0] ^= m
    v[2] ^= 0xFF
    v = sip_rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def cookie_base(key, name):
    return (siphash(key, name) >> 9 << 8) or 0x100


# ---- sections 3 to 5: device, superblock --------------------------------------------------------------------------------


class Super:
    """The fields of a superblock, its rules checked."""

    def __init__(self, page):
        major, _, _, _, incompat, log_incompat = struct.unpack_from("<IIQQQQ", page, 72)
        checksum, encryption, entry_bytes = struct.unpack_from("<HHH", page, 240)
        require(major == 1 and not incompat and not log_incompat, "superblock: version or features")
        require(checksum == 1 and encryption == 0, "superblock: checksum or encryption type")
        self.salt, self.hash_key = page[128:144], page[144:160]
        page_bytes, group_pages, self.pages = struct.unpack_from("<IIQ", page, 224)
        require((page_bytes, group_pages, entry_bytes) == (PAGE, GROUP, 4), "superblock: geometry")
        require(4096 <= self.pages < 1 << 56 and 0 in page[160:224], "superblock: size or label")
        self.unit, self.segments_version = struct.unpack_from("<II", page, 248)
        require(self.unit in (4096, 8192, 16384, 32768, 65536), "superblock: write unit")
        self.state, self.root, self.table, self.table_pages = struct.unpack_from("<QQQQ", page, 256)
        count = struct.unpack_from("<I", page, 300)[0]
        require(1 <= count <= 32, "superblock: number of log segments")
        self.segments = [struct.unpack_from("<QQ", page, 304 + 16 * i) for i in range(count)]
        self.groups = self.pages // GROUP + (self.pages % GROUP >= 256)
        require(self.table_pages == -(-self.groups // 1008), "superblock: size of the group table")
        log_pages = sum(pages for _, pages in self.segments)
        require(log_pages >= 66 and (log_pages - 2) * PAGE % self.unit == 0, "superblock: size of the log")
        self.check_places()
        self.seed = raw(M32, self.salt)

    def places(self):
        return [(0, 1), (2048, 1), (self.state, 1), (self.root, 1), (self.table, self.table_pages)] + self.segments

    def check_places(self):
        end = 0
        for first, pages in sorted(self.places()):
            require(pages and end <= first, "superblock: overlapping places")
            end = first + pages
            for group in range(first // GROUP, (end - 1) // GROUP + 1):
                fixed = group * GROUP + 1
                require(end <= fixed or first >= fixed + 18, "superblock: a place on a group's header")
            require((end - 1) // GROUP < self.groups, "superblock: a place outside of the groups")

    def group_pages(self, group):
        return min(GROUP, self.pages - group * GROUP)


class Device:
    """Pages of the image, those that recovery made in front of it."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.replayed = {}

    def bytes_at(self, at, length):
        self.file.seek(at)
        data = self.file.read(length)
        require(len(data) == length, f"byte {at}: the device ends there")
        return data

    def page(self, number):
        found = self.replayed.get(number)
        return found if found is not None else self.bytes_at(number * PAGE, PAGE)


def superblock_is_whole(page, number):
    seed = raw(M32, page[128:144])
    kind, _, own = struct.unpack_from("<IIQ", page, 32)
    return (page[:32] == struct.pack("<I", page_check(seed, page)) + bytes(28) and kind == SUPER and own == number and
            page[64:72] == b"knotfs\r\n")


def read_superblock(device):
    page = device.page(0)
    if not superblock_is_whole(page, 0):
        ours = page[64:72] == b"knotfs\r\n" or page[32:36] == b"KNSB" or not any(page)
        require(ours, "not a knotfs volume")
        page = device.page(2048)
        require(superblock_is_whole(page, 2048), "superblock and spare are damaged")
    return Super(page)


# ---- sections 11 and 12: log, recovery -----------------------------------------------------------------------------------


class Slot:
    def __init__(self, page, place, log):
        (magic, check, self.sequence, self.epoch, self.flags, self.lsn, self.at, self.durable,
         version) = struct.unpack_from("<IIQIIQQQI", page, 0)
        into = (self.lsn - LSN_FIRST) % 512
        self.is_empty = not any(page[:2048])
        self.counts = (magic == 0x4C534E4B and check == slot_check(log.seed, page) and self.sequence % 2 == place and
                       version == log.super.segments_version and self.lsn >= LSN_FIRST and
                       (into == 0 or 12 < into < 508) and self.at < log.ring_bytes and
                       self.at % log.super.unit == (self.lsn - LSN_FIRST) % log.super.unit and
                       self.lsn <= self.durable <= self.lsn + log.ring_bytes)


class Log:
    """Reads the records that count, in order, and finds out where the log ends."""

    def __init__(self, device, superblock):
        self.device, self.super, self.seed = device, superblock, superblock.seed
        self.ring_bytes = sum(pages for _, pages in superblock.segments) * PAGE - 8192
        slots = [Slot(self.run_bytes(place * PAGE, PAGE), place, self) for place in (0, 1)]
        counting = [slot for slot in slots if slot.counts]
        require(counting, "log: no slot counts")
        self.slot = max(counting, key=lambda slot: slot.sequence)
        other = slots[1 - self.slot.sequence % 2]
        self.pair_is_whole = ((other.counts and other.sequence + 1 == self.slot.sequence) or
                              (other.is_empty and self.slot.sequence == 0))

    def run_bytes(self, at, length):
        for first, pages in self.super.segments:
            if at < pages * PAGE:
                return self.device.bytes_at(first * PAGE + at, length)
            at -= pages * PAGE
        raise Damage("log: a place behind the last segment")

    def block_at(self, lsn):
        return self.run_bytes(8192 + (self.slot.at + lsn - self.slot.lsn) % self.ring_bytes, 512)

    @staticmethod
    def block_lsn(lsn):
        return lsn - (lsn - LSN_FIRST) % 512

    @staticmethod
    def number(lsn):
        return (lsn - LSN_FIRST) // 512 & M32

    def fits(self, block, lsn):
        number, _, _, epoch = struct.unpack_from("<IHHI", block, 0)
        return (number == self.number(lsn) and epoch == self.slot.epoch and
                struct.unpack_from("<I", block, 508)[0] == block_check(self.seed, block))

    def stream(self):
        """Pieces (LSN of the first byte, bytes) of the used bodies up to the end, which `end` then holds."""
        lsn = self.block_lsn(self.slot.lsn)
        offset = self.slot.lsn - lsn - 12 if self.slot.lsn != lsn else 0
        while True:
            block = self.block_at(lsn)
            self.end = lsn
            if not self.fits(block, lsn):
                return
            used = struct.unpack_from("<H", block, 4)[0]
            require(used <= 496 and offset <= used, f"log: block at LSN {lsn}: impossible use")
            yield lsn, offset, block[12 + offset:12 + used]
            lsn, offset = lsn + 512, 0

    def records(self):
        """(type, space, offset, length, page, bytes, end LSN) of all whole records up to the end."""
        held, pieces = b"", self.stream()
        where = []  # (bytes of the stream before this piece, block's LSN, body offset)
        total = taken = 0

        def more(wanted):
            nonlocal held, total
            while len(held) < wanted:
                piece = next(pieces, None)
                if piece is None:
                    return False
                where.append((total, piece[0], piece[1]))
                held += piece[2]
                total += len(piece[2])
            return True

        while more(14):
            kind, space, offset, length, page = struct.unpack_from("<BBHHQ", held, 0)
            size = {BYTES: length, IMAGE: PAGE - length}.get(kind, 0)
            self.check_record(kind, space, offset, length, page)
            if not more(14 + size):
                return
            body, held = held[14:14 + size], held[14 + size:]
            taken += 14 + size
            while len(where) > 1 and where[1][0] < taken:
                where.pop(0)
            begin, block, first = where[0]
            body_offset = first + taken - begin
            end = block + 512 if body_offset == 496 else block + 12 + body_offset
            require(kind != DURABLE or page <= end, "log: DURABLE in the future")
            yield kind, space, offset, length, page, body, end

    def check_record(self, kind, space, offset, length, page):
        require(BYTES <= kind <= DURABLE, f"log: record type {kind}")
        count = 1
        if kind in (BYTES, IMAGE):
            require(space <= 1 and offset + length <= PAGE, "log: record outside of its page")
        elif kind == FREE:
            count = length + offset * 65536
        else:
            return
        require(0 < count <= self.super.pages - page, "log: record outside of the volume")
        for first, pages in [(0, 1), (2048, 1)] + self.super.segments:
            require(page + count <= first or first + pages <= page, "log: record of a page that is never logged")

    def mini_transactions(self):
        """Steps 2 to 4: a list of (records, end LSN), those that count. Sets `end` and `dropped`."""
        counting, waiting, current = [], [], []
        for kind, space, offset, length, page, body, end in self.records():
            if kind in (DURABLE, END_BATCH):
                require(not current, "log: DURABLE or END_BATCH inside of a mini-transaction")
            if kind == END_MTR:
                waiting.append((current, end))
                current = []
            elif kind != DURABLE and kind != END_BATCH:
                current.append((kind, space, offset, length, page, body))
            if kind == END_BATCH or (kind == END_MTR and not self.slot.flags & STRICT):
                counting += waiting
                waiting = []
        self.dropped = len(waiting) + bool(current)
        return counting

    def check_end(self):
        """Step 5."""
        require(self.slot.durable <= self.end, "log: it ends before what the slot says is durable")
        if self.slot.flags & CLEAN and self.pair_is_whole:
            return
        for lsn in range(self.end, self.block_lsn(self.slot.lsn) + self.ring_bytes, 512):
            block = self.block_at(lsn)
            number, _, first_group, epoch = struct.unpack_from("<IHHI", block, 0)
            newer = epoch - self.slot.epoch & M32
            ahead = number - self.number(lsn) & M32
            if newer >= 1 << 31 or (newer == 0 and (ahead >= 1 << 31 or ahead % (self.ring_bytes // 512))):
                continue
            if struct.unpack_from("<I", block, 508)[0] != block_check(self.seed, block):
                continue
            require(newer == 0, "log: a block of a newer epoch")
            if block[12] == DURABLE and first_group == 14:
                require(struct.unpack_from("<Q", block, 18)[0] <= self.end, "log: it was durable beyond its end")

    def replay(self):
        """Steps 6 to 8: {page: bytes} of what the log changed, and the number of mini-transactions."""
        counting = self.mini_transactions()
        self.check_end()
        freed, pages, spaces, lsns = {}, {}, {}, {}
        for number, (records, _) in enumerate(counting):
            for kind, _, offset, length, page, _ in records:
                if kind == FREE:
                    freed.update((i, number) for i in range(page, page + length + offset * 65536))
        for number, (records, end) in enumerate(counting):
            for kind, space, offset, length, page, body in records:
                if kind == FREE or number <= freed.get(page, -1):
                    continue
                if kind == IMAGE:
                    pages[page] = bytearray(body[:offset] + bytes(length) + body[offset:])
                elif page in pages:
                    pages[page][offset:offset + length] = body
                else:
                    continue
                require(spaces.setdefault(page, space) == space, f"log: page {page} is changed as both spaces")
                lsns[page] = end
        for page, data in pages.items():
            if spaces[page] == 0:
                data[48:56] = struct.pack("<Q", lsns[page])
                data[:32] = struct.pack("<I", page_check(self.seed, data)) + bytes(28)
        return {page: bytes(data) for page, data in pages.items()}, len(counting)


# ---- sections 4, 6 to 8: pages, the tree -----------------------------------------------------------------------------------


class Volume:
    def __init__(self, path):
        self.device = Device(path)
        self.super = read_superblock(self.device)
        self.log = Log(self.device, self.super)
        self.device.replayed, self.replayed_mtrs = self.log.replay()
        state = self.page(self.super.state, STATE)
        (self.next_inode, self.inodes, self.initialised, self.root_generation, self.second_names,
         self.orphans) = struct.unpack_from("<6Q", state, 64)
        require(self.next_inode >= 16 and self.inodes and self.initialised, "state page: impossible values")
        self.tree_pages = []
        self.items = {}  # (object, kind) -> [(offset, value)] in order
        self.last_key = b""
        self.walk(self.super.root, self.root_generation, None, bytes(29), None)
        self.check_pages, self.right, self.digests = {}, set(), {}

    def page(self, number, kind):
        require(number < self.super.pages, f"page {number}: outside of the volume")
        page = self.device.page(number)
        found, _, own, _, _ = struct.unpack_from("<IIQQQ", page, 32)
        require(any(page), f"page {number}: all zero")
        require(page[:32] == struct.pack("<I", page_check(self.super.seed, page)) + bytes(28),
                f"page {number}: wrong checksum")
        require(found == kind and own == number, f"page {number}: wrong type or number")
        return page

    def walk(self, number, generation, level, low, high):
        """Section 8, for a page with the range [low, high)."""
        page = self.page(number, TREE)
        own_level, count, prefix_bytes, heap, garbage = struct.unpack_from("<5H", page, 64)
        require(struct.unpack_from("<Q", page, 56)[0] == generation, f"page {number}: stale")
        require(own_level == (own_level if level is None else level) <= 11, f"page {number}: level")
        require(prefix_bytes <= 28 and 112 + 2 * count <= heap <= PAGE, f"page {number}: shape")
        require(count >= (2 if own_level else 1) or (level is None and own_level == 0), f"page {number}: too empty")
        self.tree_pages.append(number)
        prefix, size, used, items = page[80:80 + prefix_bytes], 29 - prefix_bytes, [], []
        for at in struct.unpack_from("<%dH" % count, page, 112):
            require(heap <= at < PAGE - size - 1, f"page {number}: slot")
            key, after = prefix + page[at:at + size], at + size
            length = 16 if own_level else 2 + struct.unpack_from("<H", page, after)[0]
            require(after + length <= PAGE and length <= 962, f"page {number}: item")
            require(low <= key and (high is None or key < high), f"page {number}: a key outside of its range")
            used.append((at, after + length))
            items.append((key, page[after:after + length]))
        used.sort()
        require(all(a[1] <= b[0] for a, b in zip(used, used[1:])), f"page {number}: items overlap")
        require(sum(b - a for a, b in used) + garbage == PAGE - heap, f"page {number}: garbage")
        require(own_level == 0 or items[0][0] == low, f"page {number}: first key")
        for i, (key, payload) in enumerate(items):
            if own_level == 0:
                self.take_item(key, payload[2:])
                continue
            child, generation = struct.unpack("<QQ", payload)
            require(child and generation, f"page {number}: child")
            self.walk(child, generation, own_level - 1, key, items[i + 1][0] if i + 1 < count else high)

    def take_item(self, key, value):
        require(self.last_key < key, "tree: keys do not ascend")
        self.last_key = key
        number, kind, high, low, snapshot = struct.unpack(">QBQQI", key)
        require(snapshot == 0 and (high == 0 or kind == PARENT), f"tree: object {number}, kind {kind}: key")
        self.items.setdefault((number, kind), []).append(((high, low) if kind == PARENT else low, value))

    def inode(self, number):
        items = self.items.get((number, INODE), [])
        require(len(items) == 1 and items[0][0] == 0 and len(items[0][1]) == 128, f"inode {number}: no item")
        return Inode(number, items[0][1])

    # ---- section 10

    def data_page(self, number):
        at = number % GROUP
        require(number // GROUP < self.initialised, f"page {number}: data in a group that was never used")
        place = number - at + 2 + at // 1008
        if place not in self.check_pages:
            self.check_pages[place] = self.page(place, CHECKS)
        page = self.device.page(number)
        if number in self.right:
            return page
        wanted = struct.unpack_from("<I", self.check_pages[place], 64 + 4 * (at % 1008))[0]
        require(data_check(self.super.seed, number, page) == wanted, f"page {number}: wrong data checksum")
        self.right.add(number)
        return page

    def extents(self, number):
        """[(file page, device page, pages, flags)]"""
        return [(at,) + struct.unpack("<QII", value) for at, value in self.items.get((number, EXTENT), [])]

    def digest(self, inode):
        if inode.number not in self.digests:
            self.digests[inode.number] = self.compute_digest(inode)
        return self.digests[inode.number]

    def compute_digest(self, inode):
        """SHA-256 of the contents. Holes, the end of the file and inline data by the rules of section 10."""
        digest, at = hashlib.sha256(), 0
        zeros = bytes(256 * PAGE)

        def put(data):
            nonlocal at
            tail = data[inode.size - at:]
            require(not any(tail), f"inode {inode.number}: bytes past the end are not zero")
            digest.update(data[:inode.size - at])
            at += len(data)

        def put_zeros(until):
            nonlocal at
            while at < min(until, inode.size):
                step = min(until, inode.size, at + len(zeros)) - at
                digest.update(zeros[:step])
                at += step

        inline = self.items.get((inode.number, INLINE), [])
        extents = self.extents(inode.data_object)
        require(not (inline and extents), f"inode {inode.number}: inline data and extents")
        if inline:
            require(len(inline[0][1]) <= inode.size, f"inode {inode.number}: inline data past the end")
            put(inline[0][1])
        for first, device_page, pages, flags in extents:
            put_zeros(first * PAGE)
            for i in range(pages):
                if at >= inode.size:
                    break
                if flags & 1:
                    put_zeros(at + PAGE)
                else:
                    put(self.data_page(device_page + i))
        put_zeros(inode.size)
        return digest.hexdigest()

    # ---- section 9.2

    def entries(self, number):
        for cookie, value in self.items.get((number, ENTRY), []):
            require(11 <= len(value) <= 265, f"directory {number}: an entry of impossible length")
            yield cookie, struct.unpack_from("<Q", value, 0)[0], value[8], value[10:]

    def tree(self, number=1, path=b"", depth=0):
        """(path, inode) of everything, depth first."""
        require(depth < 4096, f"directory {number}: below itself")
        inode = self.inode(number)
        yield path or b"/", inode
        if inode.kind == DIRECTORY:
            for _, child, _, name in self.entries(number):
                yield from self.tree(child, path + b"/" + name, depth + 1)


class Inode:
    def __init__(self, number, value):
        self.number = number
        (self.mode, self.uid, self.gid, self.project, self.links, self.subdirectories, self.size, self.pages, _, _, _,
         self.rdev, self.data_object) = struct.unpack_from("<6I7Q", value, 0)
        self.times = struct.unpack("<qIqIqIqI", value[80:128])
        self.kind = self.mode & 0o170000
        require(not self.mode & ~0o177777 and self.kind >> 12 in (1, 2, 4, 6, 8, 10, 12), f"inode {number}: mode")
        require(self.size < 1 << 63 and all(n < 10 ** 9 for n in self.times[1::2]), f"inode {number}: size or times")

    def nlink(self):
        return 1 + self.links + self.subdirectories if self.kind == DIRECTORY else self.links


# ---- section 14 ---------------------------------------------------------------------------------------------------------


def check_names(volume):
    """Invariants 8 to 12."""
    entries = {number: dict(items) for (number, kind), items in volume.items.items() if kind == ENTRY}
    links, orphans = {1: 1}, {offset for offset, _ in volume.items.get((2, ORPHAN), [])}
    for number, kind in volume.items:
        if kind == ENTRY:
            require(volume.inode(number).kind == DIRECTORY, f"inode {number}: entries of no directory")
        if kind == PARENT:
            for (parent, cookie), name in volume.items[number, kind]:
                entry = entries.get(parent, {}).get(cookie, b"")
                require(entry[:8] == struct.pack("<Q", number) and entry[10:] == name,
                        f"inode {number}: a parent link without its entry")
        if kind != INODE:
            continue
        inode = volume.inode(number)
        require((inode.links == 0) == (number in orphans), f"inode {number}: orphan or not")
        if inode.kind != DIRECTORY:
            continue
        names, directories = set(), 0
        for cookie, child, kind_of_child, name in volume.entries(number):
            require(name not in (b".", b"..") and not set(name) & {0, 47}, f"directory {number}: an impossible name")
            require(cookie & ~255 == cookie_base(volume.super.hash_key, name), f"directory {number}: a wrong cookie")
            require(volume.inode(child).kind >> 12 == kind_of_child, f"directory {number}: a wrong type")
            require(((number, cookie), name) in volume.items.get((child, PARENT), []),
                    f"directory {number}: an entry without its parent link")
            links[child] = links.get(child, 0) + 1
            directories += kind_of_child == 4
            names.add(name)
        require(inode.size == len(names) == len(entries.get(number, {})),
                f"directory {number}: size or double names")
        require(inode.subdirectories == directories, f"directory {number}: subdirectories")
    for number, kind in volume.items:
        if kind == INODE:
            require(volume.inode(number).links == links.get(number, 0), f"inode {number}: links")
    require(volume.orphans == len(orphans), "state page: orphans")


def check_data(volume, used):
    """Invariants 13 to 19; the pages of extents go to `used`."""
    truncations = {object_: struct.unpack("<QQ", value) for object_, value in volume.items.get((3, TRUNCATION), [])}
    owners, inodes = {}, 0
    for number, kind in volume.items:
        require(kind in (INODE, PARENT, INLINE, EXTENT, ENTRY, ORPHAN, TRUNCATION), f"object {number}: kind {kind}")
        require(number in (1, 2, 3) or 16 <= number < volume.next_inode, f"object {number}: number")
        if kind != INODE:
            continue
        inodes += 1
        inode = volume.inode(number)
        require(owners.setdefault(inode.data_object, inode) is inode, f"object {inode.data_object}: two inodes")
        extents = volume.extents(inode.data_object)
        require(inode.pages == sum(extent[2] for extent in extents), f"inode {number}: pages")
        require(inode.kind in (REGULAR, SYMLINK) or not (extents or (number, INLINE) in volume.items),
                f"inode {number}: data")
        if extents and inode.data_object not in truncations:
            require((extents[-1][0] + extents[-1][2] - 1) * PAGE < inode.size, f"inode {number}: extents past the end")
        if inode.kind in (REGULAR, SYMLINK):
            volume.digest(inode)
    require(volume.inodes == inodes, "state page: inodes")
    for number, kind in volume.items:
        if kind != EXTENT:
            continue
        require(number in owners or truncations.get(number, (0, 1))[1] == 0, f"object {number}: nobody's extents")
        end = 0
        for first, page, pages, flags in volume.extents(number):
            require(first >= end and pages and flags in (0, 1), f"object {number}: extent at {first}")
            require(page // GROUP == (page + pages - 1) // GROUP < volume.super.groups, f"object {number}: its place")
            end = first + pages
            for i in range(page, page + pages):
                require(i not in used, f"page {i}: used twice")
                used.add(i)
                if not flags & 1:
                    volume.data_page(i)


def check_space(volume, used):
    """Invariants 1 to 5."""
    superblock, entries = volume.super, []
    for first, pages in superblock.places():
        used.update(range(first, first + pages))
    for i in range(superblock.table_pages):
        page = volume.page(superblock.table + i, TABLE)
        entries += struct.iter_unpack("<HH", page[64:])
    require(not any(free or clusters for free, clusters in entries[superblock.groups:]), "group table: its end")
    for group in range(superblock.groups):
        first, pages = group * GROUP, superblock.group_pages(group)
        wanted = {i for i in range(first, first + pages) if i in used or 1 <= i - first <= 18}
        free, clusters = pages - len(wanted), 0
        for cluster in range(pages // 64):
            clusters += wanted.isdisjoint(range(first + cluster * 64, first + cluster * 64 + 64))
        require(entries[group] == (free, clusters), f"group {group}: its entry in the table")
        if group >= volume.initialised:
            require(len(wanted) == 18, f"group {group}: in use, not initialised")
            continue
        header = volume.page(first + 1, HEADER)
        require(struct.unpack_from("<QII", header, 64) == (group, pages, free), f"group {group}: its header")
        for i in range(GROUP):
            bit = header[2048 + i // 8] >> i % 8 & 1
            require(bit == (i >= pages or first + i in wanted), f"page {first + i}: its bit is {bit}")
        for cluster in range(256):
            bit = header[1024 + cluster // 8] >> cluster % 8 & 1
            range_ = range(first + cluster * 64, first + cluster * 64 + 64)
            require(not bit or not wanted.isdisjoint(range_), f"group {group}: the tree bit of a free cluster")
            require(bit or not any(page in range_ for page in volume.tree_pages), f"group {group}: a tree bit")
        for i in range(17):
            volume.page(first + 2 + i, CHECKS)


def check(volume):
    used = set(volume.tree_pages)
    require(len(used) == len(volume.tree_pages), "tree: a page twice")
    check_names(volume)
    check_data(volume, used)
    check_space(volume, used)


# ---- the program ------------------------------------------------------------------------------------------------------------


def escaped(path):
    return "".join(chr(c) if 0x21 <= c <= 0x7E and c != 0x25 else f"%{c:02X}" for c in path)


def lines(volume):
    for path, inode in volume.tree():
        digest = volume.digest(inode) if inode.kind in (REGULAR, SYMLINK) else "-"
        yield (f"{inode.number} {inode.mode:o} {inode.nlink()} {inode.uid} {inode.gid} {inode.size} {inode.rdev} "
               f"{inode.times[2]}.{inode.times[3]:09} {digest} {escaped(path)}")


def examples():
    """Those of sections 2 and 9.2."""
    salt = bytes(range(16))
    seed = raw(M32, salt)
    page = bytearray(PAGE)
    page[32:64] = bytes.fromhex("4b4e5354000000001300000000000000" "00220000000000000022000000000000")
    struct.pack_into("<4Q", page, 64, 16, 1, 1, 8704)
    block = bytes.fromhex("000000001c000e0001000000" "0600000000000022000000000000" "0500000000000000000000000000")
    slot = bytes.fromhex("4b4e534c000000000000000000000000" "00000000020000000022000000000000"
                         "00000000000000000022000000000000" "01000000")
    for have, want in [
            (raw(M32, b"123456789") ^ M32, 0xE3069283), (seed, 0x2636F714), (page_check(seed, page), 0x34F2AA70),
            (data_check(seed, 100, bytes(PAGE)), 0xAFA04BE6), (block_check(seed, block.ljust(512, b"\0")), 0xEFB8F783),
            (slot_check(seed, slot.ljust(2048, b"\0")), 0x69FE4FB0), (siphash(salt, bytes(range(15))), 0xA129CA6149BE45E5),
            (cookie_base(salt, b"hello"), 0x0027D9CC2BB3EF00)]:
        require(have == want, f"example: {have:#x} instead of {want:#x}")


def main():
    arguments = sys.argv[1:]
    try:
        if arguments == ["--examples"]:
            examples()
            return 0
        with_check = arguments[:1] == ["--check"]
        if len(arguments) != 1 + with_check:
            sys.exit(__doc__)
        sys.setrecursionlimit(20000)
        volume = Volume(arguments[-1])
        if with_check:
            check(volume)
        print(f"# slot {volume.log.slot.sequence} epoch {volume.log.slot.epoch} flags {volume.log.slot.flags}")
        print(f"# replayed {volume.replayed_mtrs} pages {len(volume.device.replayed)} dropped {volume.log.dropped}")
        print("\n".join(lines(volume)))
    except (Damage, OSError, struct.error) as problem:
        print(f"{arguments[-1] if arguments else ''}: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
