// Catch2 2 and 3 under one include.
#pragma once

#if LADARTS_CATCH2_MAJOR == 2
#include <catch2/catch.hpp>
inline auto ContainsSubstring(const std::string& s) {
  return Catch::Matchers::Contains(s);
}
#else
#include <catch2/catch_all.hpp>
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
#endif
