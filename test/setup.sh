#!/bin/sh
# setup.sh COMMAND [ARGUMENT...]: makes sure that the tools COMMAND needs are there, then runs the runner with it.
#
# This is the only part of the build that may find a machine with nothing but make on it, so it is plain POSIX sh. All that
# is missing is installed in one apt-get run when we are root on Debian; otherwise the script names it and stops, before
# anything has been changed. `setup.sh check COMMAND` stops after the check.
set -eu
cd "$(dirname "$0")/.."

only_check=
if [ "${1:-}" = check ]; then only_check=1; shift; fi
command=${1:?usage: setup.sh COMMAND [ARGUMENT...]}

has() { command -v "$1" >/dev/null 2>&1; }

# The oldest release of Rust 1 that this is built and tested with.
minor_needed=95

# recent RUSTC: is it new enough?
recent() {
    minor=$("$1" --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
    [ "${minor:-0}" -ge $minor_needed ]
}

# Which cargo builds what runs here: the first in PATH, else Debian's.
host_cargo() {
    for c in cargo "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo" /usr/bin/cargo; do
        r=$(dirname "$c")/rustc
        [ "$c" = cargo ] && r=rustc
        if has "$c" && has "$r" && recent "$r"; then echo "$c"; return; fi
    done
}

# Can anything here build for bare metal? (The runner chooses in the same order.)
bare_metal() {
    if has rustc && recent rustc && [ -d "$(rustc --print sysroot)/lib/rustlib/x86_64-unknown-none/lib" ]; then return 0; fi
    has /usr/bin/cargo && has /usr/bin/rustc && recent /usr/bin/rustc &&
        [ -f "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/core/src/lib.rs" ]
}

missing=
need() { case " $missing " in *" $1 "*) ;; *) missing="$missing${missing:+ }$1" ;; esac; }

missing_packages() {
    missing=
    has gcc || need gcc
    [ -f /usr/include/stdio.h ] || need libc6-dev
    [ -n "$(host_cargo)" ] || { need cargo-web; need rustc-web; }
    bare_metal || { need cargo-web; need rustc-web; need rust-web-src; }
    has ld.lld || need lld
    # Without it cargo cannot tell whom it talks to when it fetches the libraries.
    [ -n "${SSL_CERT_FILE:-}" ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -d /etc/pki/tls ] ||
        [ -e /etc/ssl/cert.pem ] || need ca-certificates
    case $command in
    lint)
        if [ -n "$missing" ] || ! has cargo || ! cargo clippy --version >/dev/null 2>&1; then
            has /usr/bin/cargo-clippy || need rust-web-clippy
        fi
        if ! has rustfmt || ! rustfmt --version >/dev/null 2>&1; then has /usr/bin/rustfmt || need rustfmt-web; fi
        ;;
    kernel) ;;
    *)
        has qemu-system-x86_64 || { need qemu-system-x86; need seabios; }
        ;;
    esac
    case $command in
    run | debug | test | suite | session | fuzz-syscalls) has busybox && busybox --list >/dev/null 2>&1 || need busybox-static ;;
    esac
    case $command in
    # Debian's kernel is unpacked with it: what figures are compared with, and a Linux for the fuzzer where this one lets
    # nobody make namespaces.
    bench | test | fuzz) has xz || need xz-utils ;;
    esac
}

# Prints what stops us and how to go on; nothing has been installed.
give_up() {
    cat >&2 <<EOF

foster: $1
foster: \`make $command\` needs these Debian packages: $missing

  On Debian 12, as root:      sh test/setup.sh check $command
                              installs them (and nothing else), from Debian's own archives
EOF
    case " $missing " in
    *" rust-web-src "* | *" cargo-web "*)
        cat >&2 <<EOF
  Elsewhere:                  the same tools under your system's names, and Rust 1.$minor_needed or newer from https://rustup.rs
                              with \`rustup target add x86_64-unknown-none\`
EOF
        ;;
    *) echo "  Elsewhere:                  the same tools under your system's names" >&2 ;;
    esac
    echo "Nothing was changed." >&2
    exit 1
}

sources=
# apt_get SUBCOMMAND [ARGUMENT...]: asks nothing, shows its progress, and does not mix it with our output.
apt_get() {
    # shellcheck disable=SC2086
    apt-get $sources -y --no-install-recommends "$@" </dev/null >&2
}

# The Rust of Debian 12's main archive is too old; that of its security archive is not. A machine whose apt does not know
# that archive (few are without it) gets to use it for this one installation, and its own lists stay as they are.
recent_archive() {
    minor=$(apt-cache policy rustc-web | sed -n 's/^ *Candidate: 1\.\([0-9]*\)\..*/\1/p')
    if [ "${minor:-0}" -ge $minor_needed ]; then return; fi
    grep -q '^VERSION_CODENAME=bookworm' /etc/os-release || give_up "apt knows no recent rustc-web"
    parts=$(mktemp -d)
    trap 'rm -rf "$parts"' EXIT
    for list in /etc/apt/sources.list.d/*; do [ ! -e "$list" ] || cp "$list" "$parts"; done
    echo 'deb http://deb.debian.org/debian-security bookworm-security main' >"$parts/foster-security.list"
    sources="-o Dir::Etc::SourceParts=$parts"
    apt_get update || give_up "apt-get update failed for Debian's security archive"
}

missing_packages
if [ -n "$missing" ]; then
    has apt-get && [ -f /etc/debian_version ] || give_up "some tools are missing, and this is not a Debian system"
    [ "$(id -u)" = 0 ] || give_up "some tools are missing, and only root can install them"
    echo "foster: installing $missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt_get update || give_up "apt-get update failed: is there a network?"
    case $missing in *rustc-web*) recent_archive ;; esac
    # Everything is fetched before anything is unpacked, so a failed download leaves the machine as it was.
    # shellcheck disable=SC2086
    apt_get install --download-only $missing || give_up "apt-get could not fetch the packages: is there a network?"
    # shellcheck disable=SC2086
    apt_get install $missing || { echo "foster: apt-get install failed; its own message is above" >&2; exit 1; }
    wanted=$missing
    missing_packages
    [ -z "$missing" ] || {
        echo "foster: installed $wanted, but these are still missing or too old: $missing" >&2
        exit 1
    }
fi

[ -z "$only_check" ] || exit 0
[ -z "${parts:-}" ] || rm -rf "$parts"
export FOSTER_TOOLS_CHECKED=1
[ -x target/debug/runner ] || echo "foster: building test/runner, which does the rest" >&2
exec "$(host_cargo)" run --quiet --package runner -- "$@"
