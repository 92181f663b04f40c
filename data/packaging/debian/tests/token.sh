# SPDX-License-Identifier: BSD-2-Clause
#
# What the tests begin with: a token of SoftHSM2 as Debian configures it, $label, which is made
# through the module $module as it is installed, and goes when the test ends.
set -eu
fail() {
  echo "FAILED: $*" >&2
  exit 1
}
set -- /usr/lib/*/libbulkhead.so.0
libdir=${1%/*}
module=${module:-$libdir/pkcs11/bulkhead-pkcs11.so}
pin=1234
label=autopkgtest-$$
place=$(mktemp -d)
finish() {
  softhsm2-util --delete-token --token "$label" >/dev/null || true
  rm -r "$place"
}
trap finish EXIT
softhsm2-util --module "$module" --init-token --free --label "$label" --so-pin 12345678 --pin "$pin"
