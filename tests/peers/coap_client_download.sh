#!/usr/bin/env bash
# libcoap's coap-client downloads a package from `sota center`: 64, 512 and 1024-byte blocks, the size left to the
# server, and with lost datagrams. Same SHA-256 each time.
#   coap_client_download.sh PATH-OF-SOTA
set -euo pipefail
sota=$(realpath "$1")
cd "$(dirname "$0")"
client=$(command -v coap-client-notls || command -v coap-client || command -v coap-client-openssl)
work=$(mktemp -d)
center=
cleanup() {
    if [ -n "$center" ]; then kill "$center" 2>/dev/null || true; wait "$center" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

read -r http coap < <(python3 -c '
import socket; from center_peer import free_port
print(free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM))')
"$sota" center --data "$work/data" --listen-http "127.0.0.1:$http" --listen-coap "127.0.0.1:$coap" \
    --token-file "$work/token" >"$work/log" 2>&1 &
center=$!
for _ in $(seq 150); do
    if python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$http/health')" 2>/dev/null; then break; fi
    sleep 0.2
done

# not a multiple of any block size, longer than one chunk of the server's cache
python3 -c 'import sys; sys.stdout.buffer.write(bytes((i * i + i // 253) % 256 for i in range(70_001)))' >"$work/package"
want=$(sha256sum "$work/package" | cut -d' ' -f1)
name=$(SOTA_TOKEN_FILE=$work/token python3 center_peer.py upload "http://127.0.0.1:$http" "$work/package")
if [ "$name" != "$want" ]; then
    echo "FAILED: the Center calls the package $name, not $want" >&2
    exit 1
fi

download() {
    local what=$1; shift
    rm -f "$work/got"
    if ! timeout 300 "$client" "$@" -B 280 -o "$work/got" "coap://127.0.0.1:$coap/p/$want" >"$work/client" 2>&1 ||
        [ "$(sha256sum "$work/got" 2>/dev/null | cut -d' ' -f1)" != "$want" ]; then
        echo "FAILED: $what" >&2
        tail -n 5 "$work/client" "$work/log" >&2
        exit 1
    fi
    echo "ok: $what"
}
for size in 64 512 1024; do download "blocks of $size bytes" -b $size; done
download "block size left to the server"
# by number, so that the run repeats: the first request, its Echo, some in the middle
download "lost datagrams" -b 1024 -l 1,2,9,30-31
