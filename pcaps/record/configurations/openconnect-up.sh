#!/bin/sh
[ "$$reason" = connect ] || exit 0
ip link set dev "$$TUNDEV" up mtu "$${INTERNAL_IP4_MTU:-1300}"
ip addr add "$$INTERNAL_IP4_ADDRESS/32" dev "$$TUNDEV"
