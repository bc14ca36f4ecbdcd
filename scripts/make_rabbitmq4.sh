#!/bin/sh
# A Debian 13 in a folder, with its RabbitMQ 4.0, for scripts/private_rabbitmq4.py: Debian 12's Erlang is too old for it.
#
#     scripts/make_rabbitmq4.sh FOLDER     does nothing when the folder is there; needs root and debootstrap
set -eu
folder=$1
[ ! -d "$folder" ] || exit 0
mkdir -p "$(dirname "$folder")"
new=$(mktemp -d "$(realpath "$(dirname "$folder")")/rabbitmq4.XXXXXX")
log=$new.log
trap 'rm -rf "$new" "$log"' EXIT

build() {
    debootstrap --variant=minbase trixie "$new"
    # A service that the package would start is not wanted.
    printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
    chmod 755 "$new/usr/sbin/policy-rc.d"
    # A mount namespace of its own, so that nothing stays mounted whatever happens.
    unshare --mount sh -euc '
        mount --rbind /proc "$1/proc"
        export DEBIAN_FRONTEND=noninteractive
        chroot "$1" apt-get install -y -qq --no-install-recommends rabbitmq-server
        chroot "$1" apt-get clean' sh "$new"
}

build >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
chmod 755 "$new"
mv "$new" "$folder"  # whole or not at all
