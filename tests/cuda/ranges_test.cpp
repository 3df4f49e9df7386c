// NVTX ranges reach a profiler, here a library that NVTX loads in place of one.
#include "cuda/ranges/ranges.h"

#include <dlfcn.h>

#include <cstdlib>

#include "tests/support/catch.h"

namespace {

// NVTX looks at its first call.
const bool profiler_named = setenv("NVTX_INJECTION64_PATH", LADARTS_FAKE_PROFILER, 1) == 0;

}  // namespace

TEST_CASE("ranges: a profiler sees names, nested", "[cuda][ranges]") {
  REQUIRE(profiler_named);
  ladarts::cuda::push_range("conv2d cell0/node1");
  ladarts::cuda::push_range("inner");
  ladarts::cuda::pop_range();
  ladarts::cuda::pop_range();
  void* const library = dlopen(LADARTS_FAKE_PROFILER, RTLD_NOW);
  REQUIRE(library != nullptr);
  const auto seen = reinterpret_cast<const char* (*)()>(dlsym(library, "fake_profiler_seen"));
  REQUIRE(seen != nullptr);
  CHECK(std::string(seen()) == "(conv2d cell0/node1(inner))");
  dlclose(library);
}
