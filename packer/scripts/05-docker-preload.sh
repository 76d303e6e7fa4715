#!/bin/bash
# Checks the archives of the service images and says which image is which.
set -Eeuo pipefail
trap 'echo "05-docker-preload.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export LC_ALL=C.UTF-8

images=/var/lib/cubeos/images
names=$(jq --raw-output '.services[].name' /usr/local/share/cubeos/services.json)
problems=()
for name in $names; do
  if [[ ! -s $images/$name.tar ]]; then
    problems+=("$images/$name.tar is missing or empty")
  elif ! grep -q "  $name\.tar\$" "$images/SHA256SUMS"; then
    problems+=("$images/SHA256SUMS has no line for $name.tar")
  fi
  variable=${name//-/_}_image
  variable=${variable^^}
  if ! grep -Eq "^$variable=[^[:space:]@]+:[^[:space:]:/@]+\$" "$images/images.env"; then
    problems+=("$images/images.env has no $variable=REFERENCE:TAG")
  fi
done
if ((${#problems[@]} == 0)) && ! (cd "$images" && sha256sum --check --strict --quiet SHA256SUMS); then
  problems+=("an archive is not what $images/SHA256SUMS says; run the download target again")
fi
if ((${#problems[@]})); then
  printf '05-docker-preload.sh: %s\n' "${problems[@]}" >&2
  exit 1
fi
chmod 0644 "$images"/*
install -m 0644 "$images/images.env" /cubeos/config/images.env
