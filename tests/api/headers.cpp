// SPDX-License-Identifier: BSD-2-Clause
//
// The same as C++.
#include "tests/api/headers.c"
