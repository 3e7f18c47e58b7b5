#!/usr/bin/env bash
# Sourced by the other scripts. install_missing PACKAGE… installs what building needs, and the packages named, from
# Debian's own packages, as far as they are missing.
install_missing() {
    local package missing=() as_root=()
    for package in build-essential cmake ninja-build pkg-config llvm-22-dev libcjson-dev libpng-dev libjpeg-dev libarchive-dev libutf8proc-dev zlib1g-dev "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "Installing: ${missing[*]}"
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq || echo "apt-get update failed; trying with the lists that are there"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null && return 0
    echo "These packages could not be installed: ${missing[*]}" >&2
    return 1
}
