# SPDX-License-Identifier: MIT
"""From samples to medians, ratios, verdicts and the table."""
import statistics

from rows import ROWS


class Results:
    """samples[row][peer]: the list of the rounds."""

    def __init__(self):
        self.samples = {}

    def add(self, row, peer, sample):
        self.samples.setdefault(row, {}).setdefault(peer, []).append(sample)

    def add_failures(self, other):
        """Of other rounds, whose times don't count."""
        for row, peers in other.samples.items():
            for peer, samples in peers.items():
                for sample in samples:
                    if sample.error:
                        self.add(row, peer, sample)

    def failure(self, row, peer):
        """The first reason why this peer failed the row, or ''. One failed round fails the row."""
        return next((sample.error for sample in self.samples[row].get(peer, ()) if sample.error), "")

    def median(self, row, peer):
        """Seconds, or None when there is nothing to judge."""
        samples = self.samples[row].get(peer, ())
        if not samples or self.failure(row, peer):
            return None
        return statistics.median(sample.seconds for sample in samples)

    def spread(self, row, peer):
        """(slowest - fastest) / median, or None."""
        median = self.median(row, peer)
        if not median:
            return None
        seconds = [sample.seconds for sample in self.samples[row][peer]]
        return (max(seconds) - min(seconds)) / median

    def count(self, row, peer):
        return next((sample.count for sample in self.samples[row].get(peer, ()) if sample.count), 0)

    def ratio(self, row, subject, peer):
        """How many times as fast the subject is as the peer, or None."""
        mine, other = self.median(row, subject), self.median(row, peer)
        return other / mine if mine and other else None

    def verdict(self, row):
        """(whether the targets are met or None if not judged, words)"""
        target = ROWS[row].target_ext4
        if "knotfs" not in self.samples[row]:
            return None, "-"
        if self.failure(row, "knotfs"):
            return False, "FAILED"
        if not target:
            return None, "not judged"
        ext4, fuse2fs = self.ratio(row, "knotfs", "ext4"), self.ratio(row, "knotfs", "fuse2fs")
        misses = []
        if ext4 is not None and ext4 < target:
            misses.append(f"ext4 {ext4:.2f} < {target:.1f}")
        if fuse2fs is not None and fuse2fs <= 1:
            misses.append(f"fuse2fs {fuse2fs:.2f} <= 1")
        if misses:
            return False, "MISSED: " + ", ".join(misses)
        if ext4 is None and fuse2fs is None:
            return None, "no peer"
        return True, "ok" if ext4 is not None else "ok (fuse2fs only)"


def show(row, seconds, count):
    if ROWS[row].unit == "s":
        return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{count / seconds:,.0f} {ROWS[row].unit}"


def cell(results, row, peer):
    if peer not in results.samples[row]:
        return "-"
    if results.failure(row, peer):
        return "failed"
    spread = results.spread(row, peer)
    shown = show(row, results.median(row, peer), results.count(row, peer))
    return shown if len(results.samples[row][peer]) == 1 else f"{shown} ±{spread * 50:.0f}%"


def number(value):
    return "-" if value is None else f"{value:.2f}"


def lines_of(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        first, *middle, last = row
        cells = [first.ljust(widths[0])] + [word.rjust(width) for word, width in zip(middle, widths[1:])]
        yield "  ".join([*cells, last]).rstrip()


def table(results, peers):
    rows = [["row", *peers, "/ext4", "/fuse2fs", "target", "verdict"]]
    for row in (row for row in ROWS if row in results.samples):
        target = ROWS[row].target_ext4
        rows.append([row, *(cell(results, row, peer) for peer in peers),
                     number(results.ratio(row, "knotfs", "ext4")), number(results.ratio(row, "knotfs", "fuse2fs")),
                     f"{target:.1f}" if target else "-", results.verdict(row)[1]])
    return list(lines_of(rows))


def failures(results):
    return [f"{row}: {peer} failed: {reason}" for row in results.samples for peer in results.samples[row]
            if (reason := results.failure(row, peer))]


def profile(results, peers):
    """CPU seconds a run of the row, mean of the rounds; waiting: the time in which neither daemon nor client ran."""
    rows = [["row", "peer", "seconds", "daemon user+sys", "client user+sys", "machine user+sys", "waiting"]]
    for row in (row for row in ROWS if row in results.samples):
        for peer in peers:
            samples = [sample for sample in results.samples[row].get(peer, ()) if not sample.error]
            if not samples:
                continue
            mean = {who: [statistics.fmean(sample.cpu[who][i] for sample in samples) for i in (0, 1)]
                    for who in ("daemon", "client", "machine")}
            elapsed = statistics.fmean(sample.cpu["elapsed"] for sample in samples)
            busy = sum(mean["daemon"]) + sum(mean["client"])
            rows.append([row, peer, f"{elapsed:.3f}", *(f"{user:.2f}+{system:.2f}" for user, system in mean.values()),
                         f"{max(0.0, 1 - busy / elapsed):.0%}" if elapsed else "-"])
    return list(lines_of(rows))


def as_json(results):
    out = {}
    for row, peers in results.samples.items():
        met, words = results.verdict(row)
        out[row] = {
            "what": ROWS[row].what, "target_ext4": ROWS[row].target_ext4 or None, "met": met, "verdict": words,
            "ratio_ext4": results.ratio(row, "knotfs", "ext4"),
            "ratio_fuse2fs": results.ratio(row, "knotfs", "fuse2fs"),
            "peers": {peer: {"median_s": results.median(row, peer), "count": results.count(row, peer),
                             "failed": results.failure(row, peer) or None,
                             "samples": [vars(sample) for sample in samples]} for peer, samples in peers.items()},
        }
    return out
