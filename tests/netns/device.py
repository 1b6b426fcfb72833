# SPDX-License-Identifier: BSD-3-Clause
"""TUN and TAP devices that we have ourselves, as another program than the switch."""

import contextlib
import fcntl
import os
import struct

# From <linux/if_tun.h>.
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TUN = 0x0001
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02


@contextlib.contextmanager
def attached(name, flags):
    """The descriptor of a device in the namespace that we are in; made, if it is not there."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags | IFF_NO_PI))
        yield descriptor
    finally:
        os.close(descriptor)
