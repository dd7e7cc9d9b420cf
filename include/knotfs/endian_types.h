/* SPDX-License-Identifier: MIT */
/* Raw little-endian fields of the medium: byte arrays, so alignment is 1 and structs have no padding. */
#ifndef KNOTFS_ENDIAN_TYPES_H
#define KNOTFS_ENDIAN_TYPES_H

#include <stdint.h>

typedef struct {
	uint8_t raw[2];
} knot_le16;

typedef struct {
	uint8_t raw[4];
} knot_le32;

typedef struct {
	uint8_t raw[8];
} knot_le64;

#endif
