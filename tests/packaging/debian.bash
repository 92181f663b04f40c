# SPDX-License-Identifier: BSD-2-Clause
#
# The Debian packages. Read by `run`.

# Trees: a Debian of what is always there; one to build in; one to install into.
clean=$place/clean
builder=$place/builder
target=$place/target
packages=(
  libbulkhead0 bulkhead-worker bulkhead-pkcs11 bulkhead libbulkhead-dev bulkhead-default-module
)
debs=("${packages[@]/%/_*.deb}")
multiarch=$(dpkg-architecture -q DEB_HOST_MULTIARCH)
libdir=/usr/lib/$multiarch
version=$(dpkg-parsechangelog -l "$root/data/packaging/debian/changelog" -S Version)

make_tree() {
  [ ! -e "$clean.done" ] || return 0
  mmdebstrap --mode=root --variant=minbase "$codename" "$clean"
  cp -L /etc/resolv.conf "$clean/etc/resolv.conf"
  # Nothing is started.
  printf '#!/bin/sh\nexit 101\n' >"$clean/usr/sbin/policy-rc.d"
  chmod 755 "$clean/usr/sbin/policy-rc.d"
  touch "$clean.done"
}

make_source() {
  [ ! -e "$place/source" ] || return 0
  "$root/data/packaging/build-deb" "$place/source" -S -d -nc
}

make_builder() {
  [ ! -e "$builder.done" ] || return 0
  cp -a "$clean" "$builder"
  mkdir "$builder/source"
  cp "$place"/source/* "$builder/source"
  apt "$builder" update
  apt "$builder" install build-essential fakeroot
  in_tree "$builder" sh -c 'dpkg-source -x /source/*.dsc /source/tree'
  apt "$builder" build-dep -P nocheck /source/tree
  touch "$builder.done"
}

# Once as root, without tests; once as a build machine does, with them: as somebody without rights, where
# there is no network. And elsewhere, of younger files, and in other circumstances.
build_one() {
  [ ! -e "$place/one" ] || return 0
  rm -rf "$builder/one"
  in_tree "$builder" env TZ=UTC DEB_BUILD_PROFILES=nocheck \
    DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" \
    /source/tree/data/packaging/build-deb /one | tee "$place/one.log"
  mv "$builder/one" "$place/one"
}
build_two() {
  [ ! -e "$place/two" ] || return 0
  apt "$builder" build-dep /source/tree
  rm -rf "$builder/two" "$builder/srv/another tree"
  in_tree "$builder" bash -euc '
    cp -r /source/tree/. "/srv/another tree"
    find "/srv/another tree" -exec touch -d 2020-02-02 {} +
    install -d -o nobody /two /var/tmp/a/longer/way
    umask 077
    exec unshare --net setpriv --reuid nobody --regid nogroup --clear-groups \
      env HOME=/nonexistent TMPDIR=/var/tmp/a/longer/way TZ=Asia/Kathmandu LC_ALL=C USER=somebody \
      DEB_BUILD_OPTIONS='parallel=$(($(nproc) + 1))' "/srv/another tree/data/packaging/build-deb" /two' |
    tee "$place/two.log"
  mv "$builder/two" "$place/two"
}
# That the tests were run, and not just let out.
tests_passed() {
  local passed
  passed=$(sed -n 's/^Ok: *//p' "$place/two.log" | tail -n 1)
  grep -E '^( *[0-9]+/[0-9]+ |[A-Z][a-z ]+: +[0-9]+)' "$place/two.log"
  [ "${passed:-0}" -ge 15 ] || fail "only ${passed:-no} tests passed"
  grep -qE '^Fail: +0 *$' "$place/two.log"
}
same_bytes() {
  (cd "$place/one" && sha256sum ./*.deb ./*.tar.xz) >"$place/sums"
  [ "$(wc -l <"$place/sums")" -ge 8 ] || fail "there is too little to compare"
  (cd "$place/two" && sha256sum -c "$place/sums")
}

version_is_mesons() {
  local project
  project=$(sed -n "s/^  version: '\(.*\)',$/\1/p" "$root/meson.build")
  [ -n "$project" ]
  [ "$(dpkg-deb -f "$place"/one/libbulkhead0_*.deb Version)" = "$version" ]
  [[ $version = "$project"-* ]]
}

lint() {
  apt "$builder" install lintian
  rm -rf "$builder/lint"
  cp -r "$place/one" "$builder/lint"
  in_tree "$builder" sh -c 'setpriv --reuid nobody --regid nogroup --clear-groups \
    lintian --display-info --pedantic \
      --fail-on error,warning,info,pedantic /lint/*.changes'
}

extract() {
  local deb
  rm -rf "$builder/extracted"
  for deb in "${debs[@]}"; do
    # shellcheck disable=SC2086
    dpkg-deb -x "$place"/one/$deb "$builder/extracted"
  done
}
hardened() {
  apt "$builder" install devscripts blhc
  extract
  in_tree "$builder" bash -euc '
    count=0
    while read -r file; do
      [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] || continue
      count=$((count + 1))
      hardening-check --nocfprotection "$file"
      readelf -lW "$file" | grep -E "GNU_STACK .* RW +0x"
    done < <(find /extracted -type f)
    [ "$count" -ge 3 ]'
  cp "$place/one.log" "$builder/build.log"
  in_tree "$builder" blhc --all --debian /build.log
}

# The rule that makes libbulkhead0's symbols, on the library that was built.
symbols_hold() {
  extract
  rm -rf "$builder/symbols"
  cp -r "$builder/source/tree" "$builder/symbols"
  mkdir -p "$builder/symbols/debian/libbulkhead0/DEBIAN"
  cp -r "$builder/extracted/usr" "$builder/symbols/debian/libbulkhead0"
  local list=$builder/symbols/debian/libbulkhead0.symbols
  rule() { in_tree "$builder" sh -c 'cd /symbols && debian/rules override_dh_makeshlibs'; }
  rule
  sed -i '/bulkhead_strerror/d' "$list"
  fails rule
  cp "$builder/source/tree/debian/libbulkhead0.symbols" "$list"
  echo ' bulkhead_gone@BULKHEAD_0 0.1.0' >>"$list"
  fails rule
}

# What the packages need, and what uses them; then they go in and out without a mirror.
make_target() {
  [ ! -e "$target.done" ] || return 0
  cp -a "$clean" "$target"
  mkdir "$target/packages"
  local deb needed
  # shellcheck disable=SC2086
  for deb in "${debs[@]}"; do cp "$place"/one/$deb "$target/packages"; done
  cp "$place"/source/*.dsc "$place"/source/*.tar.* "$target/packages"
  apt "$target" update
  needed=$(in_tree "$target" sh -c 'apt-get -s --no-install-recommends install /packages/*.deb' |
    sed -n 's/^Inst \([^ ]*\).*/\1/p' | grep -vxF "$(printf '%s\n' "${packages[@]}")")
  # shellcheck disable=SC2086
  apt "$target" install $needed systemd p11-kit-modules opensc softhsm2 gnutls-bin
  touch "$target.done"
}

# Everything in the target, but what package tools write for themselves.
snapshot() {
  in_tree "$target" bash -euc '
    cd /
    find . -xdev \( -path ./proc -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./packages \
      -o -path ./var/cache -o -path ./var/log -o -path ./var/lib/apt -o -path "./var/lib/dpkg/*-old" \
      -o -path ./var/lib/dpkg/status -o -path ./var/lib/dpkg/lock \
      -o -path ./var/lib/dpkg/triggers/Lock -o -path ./var/lib/dpkg/lock-frontend \) -prune \
      -o \( -type f -printf "%p %m %u %g " -exec sha256sum {} \; \) \
      -o -printf "%p %y %m %u %g %l\n" | sort
    dpkg-query -W -f "\${Package} \${db:Status-Abbrev}\n"
    dpkg-divert --list'
}
# all_are VERSION: every package is installed in that version.
all_are() {
  local state
  state=$(in_tree "$target" dpkg-query -W -f '${db:Status-Abbrev} ${Version} ${Package}\n' "${packages[@]}")
  echo "$state"
  [ "$(grep -cF "ii  $1 " <<<"$state")" = "${#packages[@]}" ] || fail "not all are installed as $1"
}
install_all() { in_tree "$target" sh -c 'dpkg -i /packages/*.deb'; }
purge_all() { in_tree "$target" dpkg --purge "${packages[@]}"; }

installs() {
  proxy_is_p11_kit
  snapshot >"$place/before"
  install_all
  all_are "$version"
  is_whole "${packages[@]}"
  in_tree "$target" bulkheadctl --version
  in_tree "$target" bulkheadctl check
}
explains_records() {
  in_tree "$target" journalctl --dump-catalog >"$place/catalog"
  local id
  for id in $(sed -n 's/^-- //p' "$root/data/bulkhead.catalog"); do
    grep -q "^-- $id" "$place/catalog" || fail "the journal's catalog has no $id"
  done
}

proxy_is_bulkhead() {
  whose "$libdir/p11-kit-proxy.so" bulkhead
  in_tree "$target" p11tool --provider "$libdir/p11-kit-proxy.so" --list-token-urls
  [ -L "$target$libdir/p11-kit-proxy.so.distrib" ]
}
proxy_is_p11_kit() {
  whose "$libdir/p11-kit-proxy.so" 'PKCS#11 Kit'
  [ ! -L "$target$libdir/p11-kit-proxy.so.distrib" ]
  is_whole p11-kit-modules
}
# Every file of a package is as it was packaged.
is_whole() {
  local altered
  altered=$(in_tree "$target" dpkg --verify "$@")
  [ -z "$altered" ] || fail "$altered"
}
proxy_survives() {
  apt "$target" install --reinstall p11-kit-modules
  proxy_is_bulkhead
}
default_module_goes() {
  in_tree "$target" dpkg --remove bulkhead-default-module
  proxy_is_p11_kit
  in_tree "$target" sh -c 'dpkg -i /packages/bulkhead-default-module_*.deb'
  proxy_is_bulkhead
}

# What bulkheadctl has p11-kit hide is seen through bulkhead, and by itself again when that goes. Each
# time once.
removal_releases() {
  seen() { in_tree "$target" env BULKHEAD_LOG=debug p11tool --list-token-urls 2>&1; }
  sees_token() { [ "$(seen | grep -c token=adopted)" = 1 ]; }
  in_tree "$target" softhsm2-util --init-token --free --label adopted --so-pin 12345678 --pin 1234
  sees_token
  fails grep '^bulkhead:' <(seen)
  in_tree "$target" bulkheadctl adopt softhsm2
  grep -r bulkhead "$target/etc/pkcs11/modules"
  sees_token
  grep '^bulkhead:' <(seen)
  in_tree "$target" dpkg --remove bulkhead
  [ ! -e "$target/etc/pkcs11" ] || fail "what it made is left"
  sees_token
  fails grep '^bulkhead:' <(seen)
  in_tree "$target" softhsm2-util --delete-token --token adopted
  install_all
}

# Removed, then purged: as it was before.
leaves_nothing() {
  in_tree "$target" dpkg --remove "${packages[@]}"
  in_tree "$target" dpkg --purge "${packages[@]}"
  proxy_is_p11_kit
  snapshot >"$place/after"
  diff "$place/before" "$place/after"
}

# The same packages under a lower version, each with a file that the new one has no more.
make_older() {
  local deb name
  rm -rf "$target/older" "$place/older"
  mkdir "$target/older" "$place/older"
  for deb in "$target"/packages/*.deb; do
    name=$(dpkg-deb -f "$deb" Package)
    dpkg-deb -R "$deb" "$place/older/$name"
    sed -i "s/$version/$version~older/g" "$place/older/$name/DEBIAN/control"
    touch "$place/older/$name/usr/share/doc/$name/of-old"
    dpkg-deb -b --root-owner-group "$place/older/$name" "$target/older"
  done
}
upgrades() {
  make_older
  in_tree "$target" sh -c 'dpkg -i /older/*.deb'
  all_are "$version~older"
  proxy_is_bulkhead
  mkdir -p "$target/etc/bulkhead/policies/softhsm2.policy.d"
  printf '[Filesystem]\nReadWritePaths=-/srv/tokens\n' \
    >"$target/etc/bulkhead/policies/softhsm2.policy.d/own.conf"
  install_all
  all_are "$version"
  [ -z "$(find "$target/usr" -name of-old)" ]
  is_whole "${packages[@]}"
  proxy_is_bulkhead
  # An operator's drop-in is in force after it, and the operator's after the packages.
  [[ $(in_tree "$target" bulkheadctl show softhsm2) = */srv/tokens* ]]
  purge_all
  grep /srv/tokens "$target/etc/bulkhead/policies/softhsm2.policy.d/own.conf"
  rm -r "$target/etc/bulkhead" "$target/older"
  proxy_is_p11_kit
  snapshot >"$place/after"
  diff "$place/before" "$place/after"
}

autopkgtest() {
  apt "$target" install autopkgtest
  in_tree "$target" sh -c 'autopkgtest --apt-upgrade /packages/*.deb /packages/*.dsc -- null'
}

must "a Debian $codename of its own is made from the mirror" make_tree
must "makes a source package" make_source
must "its build dependencies can be had" make_builder
must "builds with dpkg-buildpackage" build_one
check "has the version of meson.build" version_is_mesons
check "lintian finds nothing" lint
check "executables and library are hardened" hardened
check "a symbol more or less than listed breaks the build" symbols_hold
must "what the packages depend on can be had" make_target
must "installs with nothing but that" installs
check "the journal has its catalog" explains_records
check "p11-kit-proxy.so is bulkhead" proxy_is_bulkhead
check "it stays so when p11-kit is installed again" proxy_survives
check "p11-kit has its own back without bulkhead-default-module" default_module_goes
check "gives back what bulkheadctl adopted" removal_releases
check "leaves nothing behind" leaves_nothing
check "upgrades from a lower version" upgrades
check "autopkgtest passes" autopkgtest
check "builds a second time, elsewhere, and with its tests" build_two
check "the tests were run" tests_passed
check "both builds have the same bytes" same_bytes
