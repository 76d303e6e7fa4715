#!/bin/bash
# Docker, from Docker's own repository or from Debian's. No later script installs
# packages, so that here the initramfs is made.
set -Eeuo pipefail
trap 'echo "03-docker.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# shellcheck source=lib.sh
. /tmp/cubeos-lib.sh

: "${DOCKER_SOURCE:?}"

# Adds Docker's repository, if its key is the one of the given fingerprint.
add_docker_repository() {
  local url=${DOCKER_CE_URL:?} fingerprint=${DOCKER_CE_KEY_FINGERPRINT:?} home primaries codename
  apt_install gpg
  home=$(mktemp -d)
  curl -fsSL --retry 5 --retry-connrefused --max-time 120 -o "$home/key.asc" "$url/gpg"
  # Whatever the file holds is what apt will trust, so it must hold this one key.
  primaries=$(gpg --homedir "$home" --batch --with-colons --show-keys "$home/key.asc" \
    | awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }')
  if [[ $primaries != "$fingerprint" ]]; then
    echo "03-docker.sh: $url/gpg holds the key(s) ${primaries//$'\n'/, }, not just $fingerprint; if Docker has published a new key, check it and change docker_ce_key_fingerprint" >&2
    exit 1
  fi
  install -d -m 0755 /etc/apt/keyrings
  gpg --homedir "$home" --batch --dearmor <"$home/key.asc" >/etc/apt/keyrings/docker.gpg
  rm -rf "$home"
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  echo "deb [arch=$(dpkg --print-architecture) signed-by=/etc/apt/keyrings/docker.gpg] $url $codename stable" \
    >/etc/apt/sources.list.d/docker.list
  apt-get update -q -o Dir::Etc::sourcelist=sources.list.d/docker.list -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0
}

if [[ $DOCKER_SOURCE == docker-ce ]]; then
  add_docker_repository
  apt_install docker-ce docker-ce-cli containerd.io docker-compose-plugin
else
  apt_install docker.io docker-cli docker-compose
fi

docker --version
docker compose version
systemctl enable --quiet docker.service containerd.service

update_initramfs yes
update-initramfs -c -k all
# The firmware loads what hooks of the kernel's packages leave on the boot partition.
for initramfs in /boot/initrd.img-*; do
  copied=
  for copy in /boot/firmware/init*; do
    if cmp -s "$initramfs" "$copy"; then
      copied=$copy
    fi
  done
  if [[ ! $copied ]]; then
    echo "03-docker.sh: no file in /boot/firmware is the same as $initramfs: the hooks in /etc/initramfs/post-update.d did not copy it" >&2
    exit 1
  fi
done
