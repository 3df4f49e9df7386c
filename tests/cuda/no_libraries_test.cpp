// A build without the headers of cuDNN or cuBLAS.
#include "core/kernel_choice.h"
#include "tests/support/catch.h"

using namespace ladarts;

TEST_CASE("kernels: a build without a library's headers refuses it and says so", "[kernels]") {
  int absent = 0;
  for (KernelLibrary* library : kernel_libraries(DeviceKind::cuda)) {
    if (!library->ops().empty()) continue;  // this one has its headers
    ++absent;
    CHECK_THROWS_WITH(
        KernelPolicy::parse(library->name(), DeviceKind::cuda),
        ContainsSubstring("this build has no " + library->name()) && ContainsSubstring("run CMake again"));
  }
  CHECK(absent > 0);
  CHECK(KernelPolicy::parse("ladarts", DeviceKind::cuda).libraries.empty());
}
