#!/bin/sh
# libvirt's daemons one for each driver, for scripts/private_modular.py: Debian 12 has them only as source.
#
#     scripts/make_modular.sh FOLDER     does nothing when the folder is there; needs root (for apt), takes 6 minutes
set -eu
folder=$1
[ ! -d "$folder" ] || exit 0
mkdir -p "$(dirname "$folder")"
new=$(mktemp -d "$(realpath "$(dirname "$folder")")/modular.XXXXXX")
log=$new.log
list=/etc/apt/sources.list.d/libvirt-amqp-source.list
trap 'rm -rf "$new" "$log" "$list"' EXIT

build() {
    # Where packages come from, their sources come from too.
    apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort -u |
        sed -n 's/^\(.*\) \([^ ]*\) main$/deb-src \1 \2 main/p' >"$list"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends dpkg-dev gcc gettext libacl1-dev \
        libattr1-dev libcap-ng-dev libc6-dev libdevmapper-dev libglib2.0-dev libgnutls28-dev libnl-3-dev \
        libnl-route-3-dev libpciaccess-dev libtirpc-dev libudev-dev libxml2-dev libxml2-utils libyajl-dev meson \
        ninja-build pkg-config python3-docutils rpcsvc-proto xsltproc
    cd "$new"
    apt-get source -qq libvirt
    cd libvirt-*/
    meson setup build -Dauto_features=disabled -Ddocs=disabled -Dtests=disabled -Dcapng=enabled -Dpciaccess=enabled \
        -Dudev=enabled -Dyajl=enabled -Ddriver_libvirtd=enabled -Ddriver_remote=enabled -Ddriver_qemu=enabled \
        -Ddriver_network=enabled -Ddriver_secrets=enabled -Ddriver_interface=enabled -Dstorage_dir=enabled \
        -Drunstatedir=/run --prefix=/usr --sysconfdir=/etc --localstatedir=/var
    ninja -C build
    DESTDIR=$new/installed meson install -C build --no-rebuild
}

build >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
mv "$new/installed" "$folder"  # whole or not at all
