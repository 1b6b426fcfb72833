/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/unix_address.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"

int unix_address_set(struct sockaddr_un *address, const char *path, struct shunt_error *error)
{
    size_t len = strlen(path);

    if (len == 0)
        return error_set(error, -EINVAL, "the socket path is empty");
    if (len >= sizeof(address->sun_path))
        return error_set(error, -ENAMETOOLONG,
                         "socket path is %zu bytes long, at most %zu fit: choose a shorter folder",
                         len, sizeof(address->sun_path) - 1);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, len);
    return 0;
}
