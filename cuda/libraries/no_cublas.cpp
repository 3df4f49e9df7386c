#include "cuda/libraries/absent_library.h"

namespace ladarts::cuda {
namespace {

const bool absent_cublas_registered = [] {
  register_kernel_library(DeviceKind::cuda, std::make_unique<AbsentLibrary>("cublas", "cublas_v2.h"));
  return true;
}();

}  // namespace
}  // namespace ladarts::cuda
