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
sources=/etc/apt/sources.list.d/libvirt-amqp-source
trap 'code=$?; [ $code = 0 ] || tail -n 20 "$log" >&2; rm -rf "$new" "$log" "$sources.list" "$sources.sources"' EXIT

# Sources come from where packages come from, under the same keys.
cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | sed -n 's/^deb /deb-src /p' >"$sources.list"
for file in /etc/apt/sources.list.d/*.sources; do
    [ ! -e "$file" ] || { grep -v '^#' "$file" | sed -n 's/^Types: .*/Types: deb-src/; p'; echo; } >>"$new/sources"
done
[ ! -e "$new/sources" ] || mv "$new/sources" "$sources.sources"

build() {
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
    cd /
}

build >"$log" 2>&1
mv "$new/installed" "$folder"  # whole or not at all
