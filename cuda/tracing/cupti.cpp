#include "cuda/tracing/cupti.h"

#include <cuda_runtime_api.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "core/error.h"
#include "cuda/libraries/shared_library.h"
#include "cuda/tracing/kernel_trace.h"

namespace ladarts::cuda {

namespace {

constexpr int kMajor = CUDART_VERSION / 1000;

const LibraryFile& cupti_file() {
  static const LibraryFile file{
      .name = "cupti",
      .variable = "LADARTS_CUPTI",
      .file = fmt::format("libcupti.so.{}", kMajor),
      .origin = fmt::format("CUPTI of CUDA {} (the toolkit's extras/CUPTI/lib64)", kMajor)};
  return file;
}

// The toolkit keeps CUPTI outside of the folders where the system's loader looks.
std::string cupti_path() {
  const char *given = std::getenv(cupti_file().variable.c_str()), *toolkit = std::getenv("CUDA_PATH");
  if (!given || !*given)
    for (const std::string& folder : {std::string(toolkit ? toolkit : ""), std::string("/usr/local/cuda")})
      if (const std::string file = folder + "/extras/CUPTI/lib64/" + cupti_file().file;
          !folder.empty() && std::filesystem::exists(file))
        return file;
  return cupti_file().chosen();
}

// What CUPTI hands over, on threads of its own too. It calls plain functions, hence one for the process.
class KernelCollector {
 public:
  static constexpr size_t kBufferBytes = 1 << 20;
  using Block = uint64_t;  // CUPTI wants buffers aligned to 8 bytes

  void begin() {
    std::lock_guard lock(mutex_);
    records_.clear();
    dropped_ = 0;
    failure_ = CUPTI_SUCCESS;
  }
  void take(const CuptiApi& api, CUcontext context, uint32_t stream, uint8_t* buffer, size_t bytes) {
    std::lock_guard lock(mutex_);
    CUpti_Activity* record = nullptr;
    CUptiResult status = CUPTI_SUCCESS;
    while (bytes > 0 && (status = api.cuptiActivityGetNextRecord(buffer, bytes, &record)) == CUPTI_SUCCESS)
      if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL || record->kind == CUPTI_ACTIVITY_KIND_KERNEL)
        // Later structures begin as this one does.
        add(*reinterpret_cast<const CUpti_ActivityKernel4*>(record));
    if (status != CUPTI_SUCCESS && status != CUPTI_ERROR_MAX_LIMIT_REACHED) failure_ = status;
    size_t dropped = 0;
    if (api.cuptiActivityGetNumDroppedRecords(context, stream, &dropped) == CUPTI_SUCCESS)
      dropped_ += dropped;
  }
  std::vector<KernelRecord> end(const CuptiApi& api) {
    std::lock_guard lock(mutex_);
    api.check(failure_, "reading its records");
    require(dropped_ == 0, "[cupti] {} records were lost for want of memory; trace fewer runs (--repeats)",
            dropped_);
    // Buffers do not come in the order of time.
    std::stable_sort(records_.begin(), records_.end(),
                     [](const auto& a, const auto& b) { return a.begin_ns < b.begin_ns; });
    return std::exchange(records_, {});
  }

 private:
  void add(const CUpti_ActivityKernel4& k) {
    records_.push_back({.name = kernel_name(k.name),
                        .begin_ns = int64_t(k.start),
                        .end_ns = int64_t(k.end),
                        .grid = {k.gridX, k.gridY, k.gridZ},
                        .block = {k.blockX, k.blockY, k.blockZ},
                        .registers = k.registersPerThread,
                        .shared_bytes = k.staticSharedMemory + k.dynamicSharedMemory,
                        .local_bytes = int(k.localMemoryPerThread)});
  }

  std::mutex mutex_;
  std::vector<KernelRecord> records_;
  size_t dropped_ = 0;
  CUptiResult failure_ = CUPTI_SUCCESS;
};

KernelCollector& collector() {
  static auto* one = new KernelCollector;  // CUPTI may call until the process has ended
  return *one;
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* bytes, size_t* records_at_most) {
  *buffer = reinterpret_cast<uint8_t*>(new (
      std::nothrow) KernelCollector::Block[KernelCollector::kBufferBytes / sizeof(KernelCollector::Block)]);
  *bytes = *buffer ? KernelCollector::kBufferBytes : 0;  // without one it drops records, and counts them
  *records_at_most = 0;                                  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext context, uint32_t stream, uint8_t* buffer, size_t, size_t valid_bytes) {
  const std::unique_ptr<KernelCollector::Block[]> owned(reinterpret_cast<KernelCollector::Block*>(buffer));
  collector().take(cupti(), context, stream, buffer, valid_bytes);
}

// Records while it lives.
class Tracing {
 public:
  explicit Tracing(const CuptiApi& api) : api_(api) {
    api_.check(api_.cuptiActivityRegisterCallbacks(give_buffer, take_buffer), "beginning");
    api_.check(api_.cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "tracing kernels");
  }
  ~Tracing() { api_.cuptiActivityDisable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL); }
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;

 private:
  const CuptiApi& api_;
};

}  // namespace

void CuptiApi::check(CUptiResult status, const char* what) const {
  if (status == CUPTI_SUCCESS) return;
  const char* text = nullptr;
  cuptiGetResultString(status, &text);
  const char* mend = "";
  if (status == CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED)
    mend = "; another profiler has this process, run it without";
  else if (status == CUPTI_ERROR_INSUFFICIENT_PRIVILEGES)
    mend =
        "; the driver lets administrators alone profile (NVIDIA's ERR_NVGPUCTRPERM tells how to change that)";
  fail("[cupti] {}: {} ({}){}", what, text ? text : "unknown", int(status), mend);
}

CuptiApi load_cupti(const std::string& file) {
  const SharedLibrary library(cupti_file(), file);
  CuptiApi api;
#define LADARTS_CUPTI_FIND(name) library.find(#name, api.name);
  LADARTS_CUPTI_FUNCTIONS(LADARTS_CUPTI_FIND)
#undef LADARTS_CUPTI_FIND
  return api;
}

const CuptiApi& cupti() {
  static const CuptiApi api = load_cupti(cupti_path());  // after a failure the next call tries again
  return api;
}

std::vector<KernelRecord> trace_kernels(const std::function<void()>& work) {
  const CuptiApi& api = cupti();
  api.cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);  // what an earlier, failed call left
  collector().begin();
  {
    const Tracing tracing(api);
    work();
    api.check(api.cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), "reading its records");
  }
  return collector().end(api);
}

std::string kernel_name(const char* symbol) {
  if (!symbol) return "unknown";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(symbol, nullptr, nullptr, &status),
                                                     std::free);
  std::string name = status == 0 && plain ? plain.get() : symbol;
  for (const std::string_view part : {"(anonymous namespace)::", "ladarts::cuda::", "ladarts::"})
    for (size_t at; (at = name.find(part)) != std::string::npos;) name.erase(at, part.size());
  // The parameters begin with the first parenthesis outside of template arguments, the result ends with the
  // last blank before.
  int depth = 0;
  size_t begin = 0, end = name.size();
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (depth > 0) continue;
    if (name[i] == ' ') begin = i + 1;
    if (name[i] == '(') {
      end = i;
      break;
    }
  }
  return begin < end ? name.substr(begin, end - begin) : name;
}

}  // namespace ladarts::cuda
