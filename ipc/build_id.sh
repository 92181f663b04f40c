#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Usage: build_id.sh VERSION FILE...: a header with the version and a digest of the files.
set -eu
version=$1
shift
digest=$(cat "$@" | sha256sum | cut -c1-32)
cat <<END
// SPDX-License-Identifier: BSD-2-Clause
#pragma once
inline constexpr char BUILD_ID[] = "$version-$digest";
END
