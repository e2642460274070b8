#!/bin/bash
# Installs what the scenarios use. In: nothing. Out: Debian packages (no service started), and below the scratch folder a Python
# environment and npm packages for the programs that Debian does not have. Run as root on Debian 12.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
tools=${1:-/var/tmp/farend-record}/tools

# Packages must not start their services on this machine: the scenarios start them inside their own namespaces.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi

basics=(tcpdump tshark nftables ethtool iproute2 iputils-ping util-linux procps gcc libc6-dev openssl imagemagick python3-venv nodejs)
devices=(avahi-daemon isc-dhcp-client ustreamer)
ordinary=(dnsmasq bind9-dnsutils nginx-light curl caddy chromium rsync mosquitto mosquitto-clients ngircd irssi dovecot-imapd isync postfix msmtp)
screens=(xvfb xdotool x11-xserver-utils xterm openbox xfonts-base)
desktops=(xrdp freerdp2-x11 rdesktop tigervnc-standalone-server tigervnc-viewer tigervnc-tools x11vnc novnc websockify qemu-system-x86 seabios spice-client-gtk)
tunnels=(openssh-server openssh-client wireguard-go wireguard-tools openvpn strongswan strongswan-swanctl libcharon-extra-plugins libcharon-extauth-plugins libstrongswan-extra-plugins
    ocserv openconnect iodine dns2tcp ptunnel-ng httptunnel socat)
meshes=(tinc n2n fastd nebula yggdrasil)
proxies=(microsocks dante-server tinyproxy shadowsocks-libev tor)

apt-get update -q
apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold "${basics[@]}" "${devices[@]}" "${ordinary[@]}" "${screens[@]}" "${desktops[@]}" "${tunnels[@]}" "${meshes[@]}" "${proxies[@]}"

mkdir -p "$tools/npm"
[ -x "$tools/venv/bin/python" ] || /usr/bin/python3 -m venv "$tools/venv"
"$tools/venv/bin/pip" --quiet install aioquic==1.3.0 aiortc==1.14.0
(cd "$tools/npm" && npm install --no-audit --no-fund wstunnel@1.4.0 meshcentral@1.1.55)
