#!/usr/bin/env bash
# Builds FerretDB with the Go of this machine: build.sh TARGET. It takes a minute or two, and serves
# as the local source, too, where TARGET is on the PATH.
set -euo pipefail

readonly VERSION=v1.24.2
target=$(realpath "$1")
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT
cd "$scratch"
go mod init stand-in 2>/dev/null
module=$(go mod download -json "github.com/FerretDB/FerretDB@$VERSION" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
cp -r "$module" source
chmod -R u+w source
cd source
# It refuses to start without, and what the proxy has is without.
echo "$VERSION" > build/version/version.txt
tags=ferretdb_no_postgresql,ferretdb_no_mysql,ferretdb_no_hana
CGO_ENABLED=0 go build -buildvcs=false -tags "$tags" -ldflags '-s -w' -o "$target" ./cmd/ferretdb
