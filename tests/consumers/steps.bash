# SPDX-License-Identifier: BSD-2-Clause
#
# What the programs' scripts share; each begins with `source steps.bash`. A script's argument is the
# path of a PKCS#11 module. `compare` starts it in an empty directory, with HOME, TMPDIR, PORTS and
# SOFTHSM2_CONF of its own. What it prints has to be the same through any module: what is random is
# verified and not printed.
set -euo pipefail
module=$1
pin=1234
so_pin=12345678
read -ra ports <<<"$PORTS"
declare -A servers=()

# Leaves with the reason where a program, or a file, is missing.
needs() {
  local each
  for each; do
    if ! command -v "$each" >/dev/null && ! [ -e "$each" ]; then
      echo "no $each"
      exit 77
    fi
  done
}

# tested NAME VERSION: what the table of programs says that was tested here.
tested() { echo "tested|$1|$2"; }

# The version of a Debian package, or nothing that looks like one.
package() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo unknown; }

fail() {
  echo "FAILED: $*"
  exit 1
}

# Runs a command with its output in the file `out`.
quietly() { "$@" </dev/null >out 2>&1; }

# What the last command printed, ended by the end of a line.
show() {
  cat out
  [ -z "$(tail -c 1 out)" ] || echo
}

# A command that has to succeed, and what it prints.
step() {
  local status=0
  echo "\$ ${*@Q}"
  quietly "$@" || status=$?
  show
  [ "$status" = 0 ] || fail "exit status $status"
}

# A command that has to succeed, and whose output is another each time.
silent_step() {
  local status=0
  echo "\$ ${*@Q}"
  quietly "$@" || { status=$?; show; fail "exit status $status"; }
}

# A command that may fail, in the same way through any module.
status_of() {
  local status=0
  echo "\$ ${*@Q}"
  quietly "$@" || status=$?
  show
  echo "exit status $status"
}

# beyond WHAT COMMAND...: what the module alone is known to be bad at, and bulkhead has to be good at.
beyond() {
  local status=0 what=$1
  shift
  ("$@") </dev/null >out 2>&1 || status=$?
  sed 's/^/beyond> /' out
  [ -z "$(tail -c 1 out)" ] || echo
  echo "beyond|$what|$status"
}

# Fails where the text is not in what the last step printed.
expect() { grep -qe "$1" out || { cat out; fail "no '$1'"; }; }

# serve NAME PORT COMMAND...: a server that writes to NAME.log, once it listens.
serve() {
  local name=$1 port=$2 i
  shift 2
  "$@" </dev/null >"$name.log" 2>&1 &
  servers[$name]=$!
  for ((i = 0; i < 600; ++i)); do
    if grep -qE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$port") [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6; then
      return
    fi
    kill -0 "${servers[$name]}" 2>/dev/null || break
    sleep 0.05
  done
  cat "$name.log"
  fail "$name does not listen"
}

# stop NAME [SIGNAL]: ends a server, however it takes that.
stop() {
  local pid=${servers[$1]}
  unset "servers[$1]"
  kill "-${2:-TERM}" "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

finish() {
  local status=$? name
  for name in "${!servers[@]}"; do
    stop "$name"
    if [ "$status" != 0 ]; then
      echo "-- $name"
      cat "$name.log"
    fi
  done
}
trap finish EXIT
trap 'exit 143' TERM

# make_token LABEL
make_token() {
  needs pkcs11-tool
  quietly pkcs11-tool --module "$module" --init-token --slot-index 0 --label "$1" --so-pin "$so_pin" || { cat out; fail "no token"; }
  quietly pkcs11-tool --module "$module" --token-label "$1" --init-pin --so-pin "$so_pin" --pin "$pin" || { cat out; fail "no PIN"; }
}

# make_key TOKEN LABEL ID KIND NAME: a key and its certificate for NAME, signed by the authority
# ca.pem, made in files and written to the token. KIND is EC or RSA; more lines of extensions are
# read from the file NAME.ext where there is one.
make_key() {
  local token=$1 label=$2 id=$3 kind=$4 name=$5 file
  needs openssl pkcs11-tool
  {
    if [ ! -e ca.pem ]; then
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
        -subj "/CN=Authority" -days 30 -addext keyUsage=critical,keyCertSign,cRLSign
    fi
    if [ "$kind" = EC ]; then
      openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER -out "$label.key"
    else
      openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -outform DER -out "$label.key"
    fi
    [ -e "$name.ext" ] || printf 'subjectAltName=DNS:%s\nkeyUsage=digitalSignature,keyEncipherment\n' "$name" >"$name.ext"
    openssl req -new -key "$label.key" -keyform DER -subj "/CN=$name" -out "$label.csr"
    openssl x509 -req -in "$label.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
      -extfile "$name.ext" -out "$label.pem"
    openssl x509 -in "$label.pem" -outform DER -out "$label.der"
    openssl pkey -in "$label.key" -inform DER -pubout -outform DER -out "$label.pub"
    for file in privkey:key pubkey:pub cert:der; do
      pkcs11-tool --module "$module" --token-label "$token" --login --pin "$pin" --id "$id" \
        --label "$label" --type "${file%:*}" --write-object "$label.${file#*:}"
    done
  } </dev/null >out 2>&1 || { cat out; fail "no key"; }
}
