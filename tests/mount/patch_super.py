#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Change a field of both superblocks of an image and seal them again: patch_super.py IMAGE OFFSET SIZE VALUE"""
import sys

PAGE_BYTES = 4096


def table():
    rows = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        rows.append(byte)
    return rows


TABLE = table()


def raw(state, data):
    for byte in data:
        state = TABLE[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state


def main():
    image, offset, size, value = sys.argv[1], *(int(text, 0) for text in sys.argv[2:5])
    with open(image, "r+b") as file:
        for number in (2048, 0):
            file.seek(number * PAGE_BYTES)
            page = bytearray(file.read(PAGE_BYTES))
            page[offset:offset + size] = value.to_bytes(size, "little")
            seed = raw(0xFFFFFFFF, page[128:144])
            check = raw(raw(seed, bytes(32)), page[32:]) ^ 0xFFFFFFFF
            page[0:4] = check.to_bytes(4, "little")
            file.seek(number * PAGE_BYTES)
            file.write(page)


main()
