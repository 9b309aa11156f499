# Runs a firewall where nobody else sees it, in the network namespace it is started in.
# UNPACKED (usr, etc), OWN (etc, for its own files), and which one.
set -euo pipefail
unpacked=$1 own=$2 name=$3

mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$unpacked/usr:/usr" /usr
mkdir "$own/work"
mount -t overlay overlay -o "lowerdir=$unpacked/etc:/etc,upperdir=$own/etc,workdir=$own/work" /etc
for directory in /run /var/log /var/lib; do mount -t tmpfs tmpfs "$directory"; done
mkdir -p /run/dbus /run/lock /run/firewalld /var/lib/ufw

case $name in
firewalld)
    dbus-daemon --system --nofork --nopidfile &
    until [[ -S /run/dbus/system_bus_socket ]]; do sleep 0.05; done
    exec firewalld --nofork --nopid
    ;;
ufw)
    cp --no-clobber /usr/share/ufw/iptables/*.rules /usr/share/ufw/ufw.conf /etc/ufw/
    sed -i 's/^IPV6=.*/IPV6=no/' /etc/default/ufw
    sed -i 's/^ENABLED=.*/ENABLED=yes/; s/^LOGLEVEL=.*/LOGLEVEL=off/' /etc/ufw/ufw.conf
    ufw --force enable
    exec sleep infinity
    ;;
esac
