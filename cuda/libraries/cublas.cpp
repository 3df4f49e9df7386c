#include "cuda/libraries/cublas.h"

#include <limits>
#include <map>

#include "core/error.h"
#include "cuda/libraries/shared_library.h"

namespace ladarts::cuda {

namespace {

const LibraryFile& cublas_file() {
  static const LibraryFile file{.name = "cublas",
                                .variable = "LADARTS_CUBLAS",
                                .file = fmt::format("libcublas.so.{}", CUBLAS_VER_MAJOR),
                                .origin = fmt::format("cuBLAS {}, of the CUDA toolkit", CUBLAS_VER_MAJOR)};
  return file;
}

class CublasLibrary : public KernelLibrary {
 public:
  std::string name() const override { return "cublas"; }
  std::string version() override { return cublas().version(); }
  std::string file() override { return cublas().file; }
  std::vector<std::string> ops() const override { return cublas_table().ops(); }
  PreparedKernels prepare(const KernelNode& node) override {
    cublas();
    for (const auto& shapes : {node.shapes.inputs, node.shapes.outputs})
      for (const Shape& s : shapes)
        if (s.elements() == 0 || s.elements() > std::numeric_limits<int>::max()) return {};
    return cublas_table().prepare(node);
  }
};

const bool cublas_registered = [] {
  register_kernel_library(DeviceKind::cuda, std::make_unique<CublasLibrary>());
  return true;
}();

cublasHandle_t& cublas_handle_of(Device device) {
  static auto* handles = new std::map<int, cublasHandle_t>;  // the driver may be gone before the process is
  return (*handles)[device.index];
}

}  // namespace

int CublasApi::major() const {
  int value = 0;
  check(cublasGetProperty(MAJOR_VERSION, &value), "cublasGetProperty");
  return value;
}

std::string CublasApi::version() const {
  int minor = 0, patch = 0;
  check(cublasGetProperty(MINOR_VERSION, &minor), "cublasGetProperty");
  check(cublasGetProperty(PATCH_LEVEL, &patch), "cublasGetProperty");
  return fmt::format("{}.{}.{}", major(), minor, patch);
}

void CublasApi::check(cublasStatus_t status, const char* call) const {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string_view text(call);
  fail("[cublas] {}: {} ({})", text.substr(0, text.find('(')), cublasGetStatusString(status), int(status));
}

CublasApi load_cublas(const std::string& file) {
  const SharedLibrary library(cublas_file(), file);
  CublasApi api;
  api.file = file;
#define LADARTS_CUBLAS_FIND(name) library.find(#name, api.name);
  LADARTS_CUBLAS_FUNCTIONS(LADARTS_CUBLAS_FIND)
#undef LADARTS_CUBLAS_FIND
  require(api.major() == CUBLAS_VER_MAJOR, "[cublas] {} is version {}; this build needs {}", file,
          api.version(), cublas_file().origin);
  return api;
}

const CublasApi& cublas() {
  static const CublasApi api =
      load_cublas(cublas_file().chosen());  // after a failure the next call tries again
  return api;
}

void make_cublas_handle(Device device) {
  cublasHandle_t& handle = cublas_handle_of(device);
  if (handle) return;
  device_backend(device.kind)->stream(device);  // makes it the current device
  LADARTS_CUBLAS_CHECK(cublasCreate_v2(&handle));
}

cublasHandle_t cublas_handle(Device device, const KernelArgs& a, bool tf32) {
  cublasHandle_t const handle = cublas_handle_of(device);
  LADARTS_CUBLAS_CHECK(cublasSetStream_v2(handle, static_cast<cudaStream_t>(a.stream)));
  LADARTS_CUBLAS_CHECK(
      cublasSetWorkspace_v2(handle, a.workspace, kCublasBytes));  // which a new stream resets
  LADARTS_CUBLAS_CHECK(cublasSetMathMode(handle, tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH));
  return handle;
}

PrepareTable& cublas_table() {
  static auto* table = new PrepareTable;
  return *table;
}

}  // namespace ladarts::cuda
