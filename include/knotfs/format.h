/* SPDX-License-Identifier: MIT */
/*
 * Every persistent byte of a knotfs volume. docs/FORMAT.md explains it; the two change together.
 *
 * All integers are little-endian (knot_le*), except the keys of the tree, which are big-endian byte strings. All
 * reserved bytes are written as zero; a reader ignores them.
 */
#ifndef KNOTFS_FORMAT_H
#define KNOTFS_FORMAT_H

#include <knotfs/endian_types.h>

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define KNOT_DISK_SIZE(type, size)    static_assert(sizeof(type) == (size), #type " has changed its size")
#define KNOT_DISK_AT(type, field, at) static_assert(offsetof(type, field) == (at), #type "." #field " has moved")

#define KNOT_PAGE_BYTES   4096u
#define KNOT_PAGE_SHIFT   12u
#define KNOT_PAGE_NO_MASK 0x00ffffffffffffffULL /* bits 56 to 63: device number, 0 for now */

#define KNOT_GROUP_PAGES      16384u /* 64 MiB */
#define KNOT_CLUSTER_PAGES    64u    /* 256 KiB: tree pages are allocated and read by the cluster */
#define KNOT_GROUP_CLUSTERS   (KNOT_GROUP_PAGES / KNOT_CLUSTER_PAGES)
#define KNOT_VOLUME_PAGES_MIN 4096u /* 16 MiB */
#define KNOT_SUPER_PAGE       0u
#define KNOT_SUPER_SPARE_PAGE 2048u /* 8 MiB */

/* ---- page header: the first 64 bytes of every metadata page ------------------------------------------------------ */

/* never 0: an all-zero page is damage */
enum knot_page_type {
	KNOT_PAGE_SUPER = 0x42534e4b,       /* "KNSB" */
	KNOT_PAGE_GROUP = 0x48474e4b,       /* "KNGH" group header: allocation bits */
	KNOT_PAGE_GROUP_TABLE = 0x54474e4b, /* "KNGT" free counts of groups */
	KNOT_PAGE_CHECKS = 0x43504e4b,      /* "KNPC" check values of data pages */
	KNOT_PAGE_STATE = 0x54534e4b,       /* "KNST" counters */
	KNOT_PAGE_TREE = 0x52544e4b,        /* "KNTR" */
};

struct knot_disk_page_header {
	uint8_t check[32];    /* 0   CRC32C (le32) of the page with these 32 bytes zero, then zeros */
	knot_le32 type;       /* 32  enum knot_page_type */
	knot_le32 reserved;   /* 36 */
	knot_le64 page_no;    /* 40  its own number */
	knot_le64 lsn;        /* 48  end LSN of the last mini-transaction that changed it */
	knot_le64 generation; /* 56  LSN at which it last went from clean to dirty; its parent keeps a copy */
};                            /* 64 */
KNOT_DISK_SIZE(struct knot_disk_page_header, 64);
KNOT_DISK_AT(struct knot_disk_page_header, type, 32);
KNOT_DISK_AT(struct knot_disk_page_header, page_no, 40);
KNOT_DISK_AT(struct knot_disk_page_header, lsn, 48);
KNOT_DISK_AT(struct knot_disk_page_header, generation, 56);

/* ---- superblock -------------------------------------------------------------------------------------------------- */

#define KNOT_MAGIC            "knotfs\r\n" /* 8 bytes, no NUL; the line end shows a text-mode copy */
#define KNOT_VERSION_MAJOR    1u           /* a program refuses another one */
#define KNOT_VERSION_MINOR    0u
#define KNOT_LABEL_BYTES      64u /* with at least one NUL */
#define KNOT_LOG_SEGMENTS_MAX 32u
#define KNOT_KEY_SLOTS        8u

#define KNOT_CHECKSUM_CRC32C      1u
#define KNOT_ENCRYPTION_NONE      0u
#define KNOT_ENCRYPTION_AES256GCM 1u
#define KNOT_CHECK_BYTES_CRC32C   4u
#define KNOT_CHECK_BYTES_AEAD     32u

/* feature masks: a program refuses to mount unknown incompat and log-incompat bits, and mounts read-only with unknown
 * ro-compat ones */
#define KNOT_COMPAT_KNOWN          0x0ULL
#define KNOT_RO_COMPAT_KNOWN       0x0ULL
#define KNOT_INCOMPAT_ENCRYPTED    0x1ULL /* reserved, not known yet */
#define KNOT_INCOMPAT_EXTERNAL_LOG 0x2ULL /* reserved, not known yet */
#define KNOT_INCOMPAT_DEVICES      0x4ULL /* reserved, not known yet */
#define KNOT_INCOMPAT_SNAPSHOTS    0x8ULL /* reserved, not known yet */
#define KNOT_INCOMPAT_KNOWN        0x0ULL
#define KNOT_LOG_INCOMPAT_KNOWN    0x0ULL

struct knot_disk_segment {
	knot_le64 page_no; /* 0  first page */
	knot_le64 pages;   /* 8 */
};                         /* 16 */
KNOT_DISK_SIZE(struct knot_disk_segment, 16);

struct knot_disk_key_slot {
	uint8_t bytes[128]; /* reserved for encryption: all zero */
};
KNOT_DISK_SIZE(struct knot_disk_key_slot, 128);

struct knot_disk_superblock {
	struct knot_disk_page_header header; /* 0    type KNOT_PAGE_SUPER; the spare has its own page number */
	uint8_t magic[8];                    /* 64 */
	knot_le32 version_major;             /* 72 */
	knot_le32 version_minor;             /* 76 */
	knot_le64 compat;                    /* 80 */
	knot_le64 ro_compat;                 /* 88 */
	knot_le64 incompat;                  /* 96 */
	knot_le64 log_incompat;              /* 104 */
	uint8_t uuid[16];                    /* 112 */
	uint8_t salt[16];                    /* 128  seeds every checksum; fixed by mkfs */
	uint8_t hash_seed[16];               /* 144  SipHash-2-4 key of directory names */
	char label[KNOT_LABEL_BYTES];        /* 160 */
	knot_le32 page_bytes;                /* 224  4096 */
	knot_le32 group_pages;               /* 228  16384 */
	knot_le64 pages;                     /* 232  of the volume */
	knot_le16 checksum_type;             /* 240 */
	knot_le16 encryption_type;           /* 242 */
	knot_le16 check_entry_bytes;         /* 244  of a page-check entry */
	knot_le16 reserved0;                 /* 246 */
	knot_le32 log_write_unit_bytes;      /* 248  power of two, 4096 to 65536 */
	knot_le32 segments_version;          /* 252  grows with each change of the segment table */
	knot_le64 state_page;                /* 256 */
	knot_le64 root_page;                 /* 264  of the tree; never moves */
	knot_le64 group_table_page;          /* 272  first page of the group table */
	knot_le64 group_table_pages;         /* 280 */
	knot_le64 created_sec;               /* 288 */
	knot_le32 created_nsec;              /* 296 */
	knot_le32 segment_count;             /* 300  1 to KNOT_LOG_SEGMENTS_MAX */
	struct knot_disk_segment segments[KNOT_LOG_SEGMENTS_MAX]; /* 304 */
	uint8_t device_table[256];                                /* 816  reserved: several devices */
	uint8_t external_log[64];                                 /* 1072 reserved: UUID and place of a log elsewhere */
	uint8_t lease[64];                                        /* 1136 reserved: who has it mounted */
	knot_le64 quota_object;                                   /* 1200 reserved */
	uint8_t resize_intent[64];                                /* 1208 reserved: a resize under way */
	struct knot_disk_key_slot key_slots[KNOT_KEY_SLOTS];      /* 1272 */
	uint8_t reserved[1800];                                   /* 2296 */
};                                                                /* 4096 */
KNOT_DISK_SIZE(struct knot_disk_superblock, 4096);
KNOT_DISK_AT(struct knot_disk_superblock, magic, 64);
KNOT_DISK_AT(struct knot_disk_superblock, uuid, 112);
KNOT_DISK_AT(struct knot_disk_superblock, label, 160);
KNOT_DISK_AT(struct knot_disk_superblock, pages, 232);
KNOT_DISK_AT(struct knot_disk_superblock, state_page, 256);
KNOT_DISK_AT(struct knot_disk_superblock, segments, 304);
KNOT_DISK_AT(struct knot_disk_superblock, device_table, 816);
KNOT_DISK_AT(struct knot_disk_superblock, quota_object, 1200);
KNOT_DISK_AT(struct knot_disk_superblock, key_slots, 1272);
KNOT_DISK_AT(struct knot_disk_superblock, reserved, 2296);

/* ---- state page: counters, changed through the log --------------------------------------------------------------- */

struct knot_disk_state {
	struct knot_disk_page_header header; /* 0 */
	knot_le64 next_inode;                /* 64  never used so far; numbers are never used again */
	knot_le64 inodes;                    /* 72  inode items in the tree */
	knot_le64 groups_initialised; /* 80  groups below have headers; those from here on are all free and unwritten */
	knot_le64 root_generation;    /* 88  the generation of the tree's root page */
	knot_le64 second_names;       /* 96  directory names beyond each directory's first */
	knot_le64 orphans;            /* 104 items of the orphan object */
	uint8_t reserved[3984];       /* 112 */
};
KNOT_DISK_SIZE(struct knot_disk_state, 4096);
KNOT_DISK_AT(struct knot_disk_state, orphans, 104);

/* ---- groups --------------------------------------------------------------------------------------------------------
 * Group g is the pages g * 16384 .. . Page +0 is the superblock in group 0, an ordinary page elsewhere. Page +1 is the
 * header, the check pages follow it: ceil(16384 / entries per page) of them. The last group may be short; it exists
 * only if it has at least KNOT_GROUP_PAGES_MIN pages.
 */
#define KNOT_GROUP_HEADER_AT              1u
#define KNOT_GROUP_CHECKS_AT              2u
#define KNOT_CHECK_AREA_BYTES             (KNOT_PAGE_BYTES - 64u)
#define KNOT_CHECKS_PER_PAGE(entry_bytes) (KNOT_CHECK_AREA_BYTES / (entry_bytes))
#define KNOT_GROUP_CHECK_PAGES(entry_bytes) \
	((KNOT_GROUP_PAGES + KNOT_CHECKS_PER_PAGE(entry_bytes) - 1u) / KNOT_CHECKS_PER_PAGE(entry_bytes))
#define KNOT_GROUP_PAGES_MIN 256u

struct knot_disk_group {
	struct knot_disk_page_header header; /* 0 */
	knot_le64 group_no;                  /* 64 */
	knot_le32 pages;                     /* 72  16384, or less in the last group */
	knot_le32 free_pages;                /* 76  zero bits of the bitmap below `pages` */
	uint8_t reserved0[944];              /* 80 */
	uint8_t tree_clusters[32];           /* 1024 bit c set: cluster c of 64 pages holds tree pages */
	uint8_t reserved1[992];              /* 1056 */
	uint8_t bitmap[2048]; /* 2048 bit p set: page p of the group is in use; bits past `pages` are set */
};
KNOT_DISK_SIZE(struct knot_disk_group, 4096);
KNOT_DISK_AT(struct knot_disk_group, tree_clusters, 1024);
KNOT_DISK_AT(struct knot_disk_group, bitmap, 2048);

struct knot_disk_group_entry {
	knot_le16 free_pages;    /* 0  0 to 16384; as the group's header says */
	knot_le16 free_clusters; /* 2  aligned clusters of 64 that are wholly free */
};
KNOT_DISK_SIZE(struct knot_disk_group_entry, 4);

#define KNOT_GROUPS_PER_TABLE_PAGE 1008u
struct knot_disk_group_table {
	struct knot_disk_page_header header;                              /* 0 */
	struct knot_disk_group_entry entries[KNOT_GROUPS_PER_TABLE_PAGE]; /* 64 */
};
KNOT_DISK_SIZE(struct knot_disk_group_table, 4096);

struct knot_disk_checks {
	struct knot_disk_page_header header; /* 0 */
	uint8_t entries[4032]; /* 64  entry i of check page k is for page k * entries_per_page + i of the group */
};
KNOT_DISK_SIZE(struct knot_disk_checks, 4096);

/* ---- the tree ---------------------------------------------------------------------------------------------------- */

#define KNOT_KEY_BYTES       29u /* object be64, kind u8, offset be128, snapshot be32 */
#define KNOT_TREE_LEVELS_MAX 12u
#define KNOT_VALUE_BYTES_MAX 960u

enum knot_item_kind {
	KNOT_KIND_INODE = 1,       /* offset 0; struct knot_disk_inode */
	KNOT_KIND_PARENT_LINK = 2, /* offset parent inode << 64 | entry cookie; the name */
	KNOT_KIND_ATTRIBUTE = 3,   /* offset name hash and tie-break */
	KNOT_KIND_INLINE = 4,      /* offset 0; the bytes of a small file or symlink */
	KNOT_KIND_EXTENT = 5,      /* offset file page; struct knot_disk_extent; object: the inode's data object */
	KNOT_KIND_ENTRY = 6,       /* offset cookie; struct knot_disk_entry and the name */
	KNOT_KIND_SHARED = 7,      /* object KNOT_OBJECT_SHARED, offset device page */
	KNOT_KIND_ORPHAN = 8,      /* object KNOT_OBJECT_ORPHANS, offset inode; empty */
	KNOT_KIND_TRUNCATION = 9,  /* object KNOT_OBJECT_TRUNCATIONS, offset data object; struct knot_disk_truncation */
	KNOT_KIND_SUSPECT = 10,    /* object KNOT_OBJECT_SUSPECTS */
	KNOT_KIND_CONDEMNED = 11,  /* object KNOT_OBJECT_CONDEMNED */
};

#define KNOT_OBJECT_ROOT        1u /* the root directory's inode */
#define KNOT_OBJECT_ORPHANS     2u
#define KNOT_OBJECT_TRUNCATIONS 3u
#define KNOT_OBJECT_SUSPECTS    4u
#define KNOT_OBJECT_CONDEMNED   5u
#define KNOT_OBJECT_SHARED      6u
#define KNOT_OBJECT_FIRST_FREE  16u /* the first inode number that mkfs leaves to be used */

struct knot_disk_tree_page {
	struct knot_disk_page_header header; /* 0 */
	knot_le16 level;                     /* 64  0: leaf */
	knot_le16 count;                     /* 66  items */
	knot_le16 prefix_bytes;              /* 68  0 to 28: what all keys of the page begin with */
	knot_le16 heap_at;                   /* 70  lowest byte in use by items; 4096 when there are none */
	knot_le16 garbage_bytes;             /* 72  of the heap, not in use by any item */
	uint8_t reserved[6];                 /* 74 */
	uint8_t prefix[32];                  /* 80 */
	knot_le16 slots[];                   /* 112 page offset of each item, in key order */
}; /* item: key without prefix; leaf: le16 value length, value; inner: child */
KNOT_DISK_SIZE(struct knot_disk_tree_page, 112);
#define KNOT_TREE_SLOTS_AT 112u

struct knot_disk_child {
	knot_le64 page_no;    /* 0 */
	knot_le64 generation; /* 8  of the child page */
};
KNOT_DISK_SIZE(struct knot_disk_child, 16);

struct knot_disk_time {
	knot_le64 sec;  /* 0  signed, since 1970 */
	knot_le32 nsec; /* 8 */
};
KNOT_DISK_SIZE(struct knot_disk_time, 12);

struct knot_disk_inode {
	knot_le32 mode;           /* 0   S_IFMT and permissions, as Linux has them */
	knot_le32 uid;            /* 4 */
	knot_le32 gid;            /* 8 */
	knot_le32 project;        /* 12 */
	knot_le32 links;          /* 16  names */
	knot_le32 subdirectories; /* 20  of a directory: entries that are directories */
	knot_le64 size;           /* 24  bytes; of a directory: its entries */
	knot_le64 pages;          /* 32  data pages in its extents */
	knot_le64 flags;          /* 40 */
	knot_le64 generation;     /* 48 */
	knot_le64 change;         /* 56  change counter */
	knot_le64 rdev;           /* 64 */
	knot_le64 data_object;    /* 72  object that its extents are filed under: its own number, or a fresh one after a
				   *     truncation to 0 that was too large for one mini-transaction */
	struct knot_disk_time atime; /* 80 */
	struct knot_disk_time mtime; /* 92 */
	struct knot_disk_time ctime; /* 104 */
	struct knot_disk_time btime; /* 116 */
};                                   /* 128 */
KNOT_DISK_SIZE(struct knot_disk_inode, 128);
KNOT_DISK_AT(struct knot_disk_inode, data_object, 72);
KNOT_DISK_AT(struct knot_disk_inode, btime, 116);

#define KNOT_NAME_BYTES_MAX 255u
struct knot_disk_entry {
	knot_le64 inode; /* 0 */
	uint8_t type;    /* 8  DT_* as in readdir(3) */
	uint8_t flags;   /* 9  reserved */
	uint8_t name[];  /* 10 no NUL; its length is the value's less 10 */
};
KNOT_DISK_SIZE(struct knot_disk_entry, 10);

/* cookie: bits 8 to 62 from SipHash-2-4 of the name (upper 55 bits, at least 1), bits 0 to 7 tie-break */
#define KNOT_COOKIE_TIES 256u
#define KNOT_COOKIE_MASK 0x7fffffffffffff00ULL
#define KNOT_COOKIE_MIN  0x100ULL

#define KNOT_EXTENT_UNWRITTEN 0x1u /* allocated, reads as zeros */
#define KNOT_EXTENT_SHARED    0x2u
struct knot_disk_extent {
	knot_le64 page_no; /* 0  first device page */
	knot_le32 pages;   /* 8  at least 1; never crosses a group */
	knot_le32 flags;   /* 12 */
};
KNOT_DISK_SIZE(struct knot_disk_extent, 16);

struct knot_disk_truncation {
	knot_le64 from_page; /* 0  extents of the object from this file page on are to be freed */
	knot_le64 inode;     /* 8  whose page count they still are in; 0: nobody's any more */
};
KNOT_DISK_SIZE(struct knot_disk_truncation, 16);

/* ---- the redo log --------------------------------------------------------------------------------------------------
 * The segments, taken in the table's order, are one run of pages. Its first two hold a checkpoint slot each; the rest
 * is the ring. LSN n is at ring byte (slot.checkpoint_at + n - slot.checkpoint_lsn) modulo the ring's size.
 */
#define KNOT_LSN_FIRST        8704u /* of a new volume; write units begin at KNOT_LSN_FIRST + k * unit */
#define KNOT_LOG_BLOCK_BYTES  512u
#define KNOT_LOG_HEADER_BYTES 12u
#define KNOT_LOG_BODY_BYTES   496u
#define KNOT_LOG_SLOTS        2u
#define KNOT_LOG_PAGES_MIN    66u /* two slots and 256 KiB */

struct knot_disk_block_header {
	knot_le32 number;      /* 0  (LSN of the block - KNOT_LSN_FIRST) / 512, modulo 2^32 */
	knot_le16 used_bytes;  /* 4  of the body, 0 to 496; what follows is padding */
	knot_le16 first_group; /* 6  body offset of the first mtr or END_BATCH that starts here, 0xffff none */
	knot_le32 epoch;       /* 8  incarnation of the mount that wrote it */
};                             /* 12 */
KNOT_DISK_SIZE(struct knot_disk_block_header, 12);
KNOT_DISK_AT(struct knot_disk_block_header, epoch, 8);

struct knot_disk_block {
	struct knot_disk_block_header header; /* 0 */
	uint8_t body[KNOT_LOG_BODY_BYTES];    /* 12 */
	knot_le32 crc;                        /* 508 CRC32C of bytes 0 to 507, seeded with the salt */
};
KNOT_DISK_SIZE(struct knot_disk_block, 512);

enum knot_record_type {                        /* 0 is none */
			KNOT_RECORD_BYTES = 1, /* `len` bytes at `offset` of the page */
			KNOT_RECORD_PAGE =
				2, /* whole page but for `len` zero bytes at `offset`: 4096 - len bytes follow */
			KNOT_RECORD_FREE = 3,      /* `len` pages from page_no (offset: upper 16 bits of the count) */
			KNOT_RECORD_END_MTR = 4,   /* the mini-transaction is whole */
			KNOT_RECORD_END_BATCH = 5, /* data=strict: the batch is whole */
			KNOT_RECORD_DURABLE = 6,   /* page_no: a durable LSN; the first record of every flush */
};

#define KNOT_SPACE_META 0u /* a page with a header: its check and LSN mean nothing in the log */
#define KNOT_SPACE_DATA 1u /* a page of file data: all 4096 bytes are the file's */

struct knot_disk_record {  /* a byte stream over the bodies of the blocks; never aligned */
	uint8_t type;      /* 0 */
	uint8_t space;     /* 1 */
	knot_le16 offset;  /* 2 */
	knot_le16 len;     /* 4 */
	knot_le64 page_no; /* 6 */
};                         /* 14 */
KNOT_DISK_SIZE(struct knot_disk_record, 14);

#define KNOT_SLOT_MAGIC  0x4c534e4bu /* "KNSL" */
#define KNOT_SLOT_STRICT 0x1u        /* records count only up to the last END_BATCH */
#define KNOT_SLOT_CLEAN  0x2u        /* unmounted: nothing follows the checkpoint */
struct knot_disk_slot {              /* a management area of 2048 bytes at the start of its page; the rest is zero */
	knot_le32 magic;             /* 0 */
	knot_le32 crc;               /* 4   CRC32C of the 2048 bytes with this field zero, seeded with the salt */
	knot_le64 sequence;          /* 8   grows with each slot written; slot sequence % 2 is the place */
	knot_le32 epoch;             /* 16 */
	knot_le32 flags;             /* 20 */
	knot_le64 checkpoint_lsn;    /* 24  recovery starts here */
	knot_le64 checkpoint_at;     /* 32  its byte in the ring */
	knot_le64 durable_lsn;       /* 40  the log is durable up to here at least */
	knot_le32 segments_version;  /* 48 */
	uint8_t reserved[1996];      /* 52 */
};
KNOT_DISK_SIZE(struct knot_disk_slot, 2048);
KNOT_DISK_AT(struct knot_disk_slot, checkpoint_lsn, 24);
KNOT_DISK_AT(struct knot_disk_slot, segments_version, 48);

#endif
