#include "cuda/libraries/absent_library.h"

namespace ladarts::cuda {
namespace {

const bool absent_cudnn_registered = [] {
  register_kernel_library(DeviceKind::cuda, std::make_unique<AbsentLibrary>("cudnn", "cudnn.h of cuDNN 9"));
  return true;
}();

}  // namespace
}  // namespace ladarts::cuda
