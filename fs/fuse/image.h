/* SPDX-License-Identifier: MIT */
/* Opening the image, with messages that say what is wrong with it. */
#ifndef KNOT_FUSE_IMAGE_H
#define KNOT_FUSE_IMAGE_H

#include "fs/disk/device.h"
#include "fs/util/message.h"

#include <stdbool.h>

/* Open and lock. Every error is said through `messages`. Errors: those of knot_device_open_file(). */
int knot_image_open(const char *path, bool read_only, const struct knot_messages *messages,
		    struct knot_device **device);

#endif
