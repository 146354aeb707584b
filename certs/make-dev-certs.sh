#!/usr/bin/env bash
# Makes a certificate authority, a server and a client certificate for development and tests.
# usage: certs/make-dev-certs.sh [DIRECTORY]    (default: the directory of this script)
#
# Keys are never committed: the directory ignores them. They are good for a year and for localhost.
set -euo pipefail

out=${1:-$(dirname "$0")}
mkdir -p "$out"
umask 077

key() { # name
    openssl ecparam -name prime256v1 -genkey -noout -out "$out/$1.key"
}

signed() { # name, subject, extensions
    key "$1"
    openssl req -new -key "$out/$1.key" -subj "$2" -out "$out/$1.csr"
    openssl x509 -req -in "$out/$1.csr" -CA "$out/ca.pem" -CAkey "$out/ca.key" -CAcreateserial \
        -days 365 -extfile <(printf '%s\n' "$3") -out "$out/$1.pem" 2>/dev/null
    rm "$out/$1.csr"
}

key ca
openssl req -x509 -new -key "$out/ca.key" -days 365 -subj "/CN=mqtt-bouncer development CA" -out "$out/ca.pem"
signed server "/CN=localhost" $'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth'
signed client "/CN=device-1" "extendedKeyUsage=clientAuth"
rm -f "$out/ca.srl"

openssl verify -CAfile "$out/ca.pem" "$out/server.pem" "$out/client.pem"
