#!/bin/bash
# Checks the archives of the service images and says which image is which. Makes
# of Pi-hole's what it could make on the device with the Internet only.
set -Eeuo pipefail
trap 'echo "05-docker-preload.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export LC_ALL=C.UTF-8

: "${SOURCE_DATE_EPOCH:?}"

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
# gravity.db, the database of what Pi-hole blocks, empty but for the address of a
# list, from the image's own template. Its time is the build's, whichever it says
# it is.
python3 - "$images/pihole.tar" /usr/local/share/cubeos/pihole/gravity.db <<'PYTHON'
import json, os, sqlite3, sys, tarfile

TEMPLATE = "etc/.pihole/advanced/Templates/gravity.db.sql"
LIST = "https://raw.githubusercontent.com/StevenBlack/hosts/master/hosts"
archive, path = sys.argv[1:]


def template():
    with tarfile.open(archive) as image:
        layers = json.load(image.extractfile("manifest.json"))[0]["Layers"]
        for name in reversed(layers):
            with tarfile.open(fileobj=image.extractfile(name)) as layer:
                for file in layer:
                    if file.name.removeprefix("./") == TEMPLATE and file.isfile():
                        return layer.extractfile(file).read().decode()
    sys.exit(f"05-docker-preload.sh: {archive} has no /{TEMPLATE}: without it Pi-hole does not start offline")


if os.path.exists(path):
    os.remove(path)
database = sqlite3.connect(path)
database.create_function("strftime", -1, lambda *_: os.environ["SOURCE_DATE_EPOCH"], deterministic=True)
database.executescript(template())
database.execute("INSERT INTO adlist (address) VALUES (?)", (LIST,))
database.commit()
version = database.execute("SELECT value FROM info WHERE property = 'version'").fetchone()
database.close()
if version is None or not version[0].isdigit():
    sys.exit(f"05-docker-preload.sh: {archive}: /{TEMPLATE} makes a database without a version")
PYTHON

chmod 0644 "$images"/*
install -m 0644 "$images/images.env" /cubeos/config/images.env
