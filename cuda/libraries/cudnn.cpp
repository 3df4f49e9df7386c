#include "cuda/libraries/cudnn.h"

#include <limits>
#include <map>

#include "core/error.h"
#include "cuda/libraries/shared_library.h"

namespace ladarts::cuda {

namespace {

const LibraryFile& cudnn_file() {
  static const LibraryFile file{.name = "cudnn",
                                .variable = "LADARTS_CUDNN",
                                .file = fmt::format("libcudnn.so.{}", CUDNN_MAJOR),
                                .origin = fmt::format("NVIDIA cuDNN {}", CUDNN_MAJOR)};
  return file;
}

class CudnnLibrary : public KernelLibrary {
 public:
  std::string name() const override { return "cudnn"; }
  std::string version() override { return cudnn().version(); }
  std::string file() override { return cudnn().file; }
  std::vector<std::string> ops() const override { return cudnn_table().ops(); }
  PreparedKernels prepare(const KernelNode& node) override {
    cudnn();  // missing is missing, whatever the op
    if (!cudnn_takes(node.shapes.inputs) || !cudnn_takes(node.shapes.outputs)) return {};
    return cudnn_table().prepare(node);
  }
};

const bool cudnn_registered = [] {
  register_kernel_library(DeviceKind::cuda, std::make_unique<CudnnLibrary>());
  return true;
}();

}  // namespace

std::string CudnnApi::version() const {
  const size_t v = cudnnGetVersion();  // 91900
  return fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

void CudnnApi::check(cudnnStatus_t status, const char* call) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char details[512] = {};
  cudnnGetLastErrorString(details, sizeof details);
  const std::string function(call, std::string_view(call).find('(') == std::string_view::npos
                                       ? std::string_view(call).size()
                                       : std::string_view(call).find('('));
  fail("[cudnn] {}: {} ({}){}{}", function, cudnnGetErrorString(status), int(status), *details ? ": " : "",
       details);
}

CudnnApi load_cudnn(const std::string& file) {
  const SharedLibrary library(cudnn_file(), file);
  CudnnApi api;
  api.file = file;
#define LADARTS_CUDNN_FIND(name) library.find(#name, api.name);
  LADARTS_CUDNN_FUNCTIONS(LADARTS_CUDNN_FIND)
#undef LADARTS_CUDNN_FIND
  require(api.cudnnGetVersion() / 10000 == CUDNN_MAJOR, "[cudnn] {} is version {}; this build needs {}", file,
          api.version(), cudnn_file().origin);
  return api;
}

const CudnnApi& cudnn() {
  static const CudnnApi api = load_cudnn(cudnn_file().chosen());  // after a failure the next call tries again
  return api;
}

cudnnHandle_t cudnn_handle(Device device, void* stream) {
  static auto* handles = new std::map<int, cudnnHandle_t>;  // the driver may be gone before the process is
  cudnnHandle_t& handle = (*handles)[device.index];
  if (!handle) {
    device_backend(device.kind)->stream(device);  // makes it the current device
    LADARTS_CUDNN_CHECK(cudnnCreate(&handle));
  }
  LADARTS_CUDNN_CHECK(cudnnSetStream(handle, static_cast<cudaStream_t>(stream)));
  return handle;
}

PrepareTable& cudnn_table() {
  static auto* table = new PrepareTable;
  return *table;
}

bool cudnn_takes(std::span<const Shape> shapes) {
  for (const Shape& s : shapes)
    if (s.elements() == 0 || s.elements() > std::numeric_limits<int>::max()) return false;
  return true;
}

void describe_tensor(cudnnTensorDescriptor_t t, int64_t n, int64_t channels, int64_t h, int64_t w,
                     int64_t all_channels) {
  LADARTS_CUDNN_CHECK(cudnnSetTensor4dDescriptorEx(t, CUDNN_DATA_FLOAT, int(n), int(channels), int(h), int(w),
                                                   int(all_channels * h * w), int(h * w), int(w), 1));
}

}  // namespace ladarts::cuda
