#!/bin/bash
# Installs the Debian packages that the scenarios use. In: nothing. Out: installed packages, no service started. Run as root on Debian 12.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# Packages must not start their services on this machine: the scenarios start them inside their own namespaces.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi

apt-get update -q
apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold \
    tcpdump tshark nftables ethtool iproute2 iputils-ping util-linux procps gcc libc6-dev openssl imagemagick \
    dnsmasq nginx-light curl bind9-dnsutils openssh-server openssh-client rsync \
    xvfb xdotool x11-xserver-utils xterm openbox xfonts-base \
    xrdp freerdp2-x11 rdesktop tigervnc-standalone-server tigervnc-viewer tigervnc-tools x11vnc novnc websockify chromium \
    wireguard-go wireguard-tools openvpn
