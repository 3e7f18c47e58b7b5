#!/usr/bin/env bash
# Installs what building and testing need, from Debian's own packages, where it is missing. Sourced by the others.
packages="build-essential cmake ninja-build pkg-config llvm-22-dev libcjson-dev libpng-dev zlib1g-dev $*"
missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "Installing:$missing"
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then as_root="sudo"; fi
    $as_root apt-get update -qq || echo "apt-get update failed; trying with the lists that are there"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
        echo "These packages could not be installed:$missing" >&2
        exit 1
    }
fi
