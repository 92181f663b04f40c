# SPDX-License-Identifier: BSD-2-Clause
#
# The RPM packages. Read by `run`. They are built of Debian's libraries and used with them; Debian's
# rpm knows none of Fedora's packages, so what they depend on is not looked at.

rpm_names=(bulkhead bulkhead-libs bulkhead-worker bulkhead-pkcs11 bulkhead-devel bulkhead-default-module)
rpm_proxy=/usr/lib64/p11-kit-proxy.so

rpm_builds() {
  [ ! -e "$builder/rpm.done" ] || return 0
  apt "$builder" install rpm
  rm -rf "$builder/rpm"
  mkdir -p "$builder/rpm/SOURCES"
  cp "$place"/source/*.orig.tar.xz "$builder/rpm/SOURCES/"
  (cd "$builder/rpm/SOURCES" && for file in *.orig.tar.xz; do
    name=${file%.orig.tar.xz}
    mv "$file" "${name/_/-}.tar.xz"
  done)
  cp "$root/data/packaging/bulkhead.spec" "$here/fedora.macros" "$builder/rpm"
  rpm_build -ba /rpm/bulkhead.spec
  touch "$builder/rpm.done"
}
rpm_build() {
  in_tree "$builder" rpmbuild --nodeps --define '_topdir /rpm' --define '_libdir /usr/lib64' \
    --load /rpm/fedora.macros "$@"
}
rpm_file() { (cd "$builder" && ls rpm/RPMS/*/"$1"-[0-9]*.rpm); }

# Nothing in the spec has gone beside where it was meant to, nor missed its package.
rpm_splits() {
  local name
  for name in "${rpm_names[@]}"; do
    echo "$name:"
    in_tree "$builder" rpm -qlp "/$(rpm_file "$name")"
  done | tee "$place/rpm-files"
  holder() { awk -v file="$1" '/:$/ { name = $1 } $1 ~ file { print name }' "$place/rpm-files" | tr -d '\n'; }
  [ "$(holder '/bulkhead-worker$')" = bulkhead-worker: ]
  [ "$(holder '/default.policy$')" = bulkhead-worker: ]
  [ "$(holder '/libbulkhead.so.0$')" = bulkhead-libs: ]
  [ "$(holder '/bulkhead-pkcs11.so$')" = bulkhead-pkcs11: ]
  [ "$(holder '/bulkheadctl$')" = bulkhead: ]
  [ "$(holder '/bulkhead.h$')" = bulkhead-devel: ]
  in_tree "$builder" rpm -qp --requires "/$(rpm_file bulkhead-libs)" | grep '^bulkhead-worker'
}

rpm_lints() {
  apt "$builder" install rpmlint
  cp "$here/rpmlint.toml" "$builder/rpm"
  in_tree "$builder" sh -c 'rpmlint --strict --config /rpm/rpmlint.toml /rpm/bulkhead.spec /rpm/RPMS/*/bulkhead*.rpm'
}

# p11kit VERSION: a p11-kit of one file, which is Debian's.
p11kit() {
  cat >"$builder/rpm/p11-kit.spec" <<SPEC
Name: p11-kit
Version: $1
Release: 1
Summary: The file that bulkhead-default-module takes the place of
License: BSD-3-Clause
BuildArch: noarch
%description
It stands in for p11-kit.
%install
mkdir -p %{buildroot}/usr/lib64
ln -s $libdir/libp11-kit.so.0 %{buildroot}$rpm_proxy
%files
$rpm_proxy
SPEC
  rpm_build -bb /rpm/p11-kit.spec
}
in_rpm() { in_tree "$target" rpm --force-debian "$@"; }
rpm_snapshot() {
  in_tree "$target" find / -xdev \( -path /rpms -o -path /proc -o -path /var \) -prune \
    -o ! -type d -print | sort
}
# Into the tree where the Debian packages were, for the libraries that are there.
rpm_installs() {
  local files=() name
  apt "$target" install rpm
  purge_all
  in_tree "$target" sh -c 'rpm -qa | xargs -r rpm --force-debian -e --nodeps'
  p11kit 1
  p11kit 2
  rm -rf "$target/rpms"
  cp -r "$builder/rpm/RPMS" "$target/rpms"
  in_rpm -i --nodeps /rpms/noarch/p11-kit-1-1.noarch.rpm
  whose "$rpm_proxy" 'PKCS#11 Kit'
  rpm_snapshot >"$place/rpm-before"
  for name in "${rpm_names[@]}"; do files+=("/$(cd "$target" && ls rpms/*/"$name"-[0-9]*.rpm)"); done
  in_rpm -i --nodeps "${files[@]}"
  in_rpm -V --nodeps "${rpm_names[@]}"
  whose "$rpm_proxy" bulkhead
  in_tree "$target" bulkheadctl try softhsm2
  in_rpm -U --nodeps /rpms/noarch/p11-kit-2-1.noarch.rpm
  whose "$rpm_proxy" bulkhead
  in_rpm -U --nodeps --force "${files[@]}"
  whose "$rpm_proxy" bulkhead
  in_tree "$target" bulkheadctl adopt --all
  in_rpm -e --nodeps "${rpm_names[@]}"
  whose "$rpm_proxy" 'PKCS#11 Kit'
  in_rpm -V --nodeps p11-kit
  rpm_snapshot >"$place/rpm-after"
  diff "$place/rpm-before" "$place/rpm-after"
  [ ! -e "$target/usr/share/bulkhead" ]
  in_rpm -e p11-kit
}

check "builds with rpmbuild" rpm_builds
if [ -e "$builder/rpm.done" ]; then
  check "the RPM packages have the Debian packages' split" rpm_splits
  check "rpmlint finds nothing" rpm_lints
  check "the RPM packages install, put p11-kit's proxy aside, update, and leave nothing behind" rpm_installs
fi
