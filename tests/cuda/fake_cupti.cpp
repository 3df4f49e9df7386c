// A library that looks like CUPTI: hands over the kernels it is told of, in buffers of few records that come
// last first, on a thread of their own, and among records of another kind.
#include <cupti.h>

#include <cstring>
#include <thread>
#include <vector>

#include "tests/cuda/fake_base.h"
#include "tests/cuda/fake_cupti.h"

namespace {

constexpr size_t kRecordBytes = 256, kRecordsInABuffer = 4;

struct Buffer {
  uint8_t* data = nullptr;
  size_t bytes = 0, used = 0;
};

CUpti_BuffersCallbackRequestFunc give = nullptr;
CUpti_BuffersCallbackCompleteFunc take = nullptr;
bool enabled = false;
std::vector<Buffer> buffers;
size_t dropped = 0;

uint8_t* next_record() {
  if (buffers.empty() || buffers.back().used == kRecordsInABuffer * kRecordBytes) {
    Buffer b;
    size_t at_most = 0;
    give(&b.data, &b.bytes, &at_most);
    if (b.bytes < kRecordsInABuffer * kRecordBytes) {
      ++dropped;
      return nullptr;
    }
    buffers.push_back(b);
  }
  Buffer& b = buffers.back();
  b.used += kRecordBytes;
  uint8_t* const record = b.data + b.used - kRecordBytes;
  std::memset(record, 0x5a, kRecordBytes);
  return record;
}

#define BEGIN_CUPTI_CALL() \
  if (const int status = fake::begin_call(__func__)) return CUptiResult(status)

}  // namespace

extern "C" {

CUptiResult cuptiGetResultString(CUptiResult status, const char** text) {
  *text = status == CUPTI_ERROR_UNKNOWN ? "CUPTI_ERROR_UNKNOWN" : "CUPTI_ERROR_OF_THE_STAND_IN";
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc give_buffer,
                                           CUpti_BuffersCallbackCompleteFunc take_buffer) {
  BEGIN_CUPTI_CALL();
  give = give_buffer;
  take = take_buffer;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityEnable(CUpti_ActivityKind kind) {
  BEGIN_CUPTI_CALL();
  if (kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL || !give || !take) return CUPTI_ERROR_INVALID_KIND;
  enabled = true;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityDisable(CUpti_ActivityKind) {
  BEGIN_CUPTI_CALL();
  enabled = false;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityFlushAll(uint32_t) {
  BEGIN_CUPTI_CALL();
  std::thread([] {
    for (; !buffers.empty(); buffers.pop_back()) {
      const Buffer& b = buffers.back();
      take(nullptr, 0, b.data, b.bytes, b.used);
    }
  }).join();
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityGetNextRecord(uint8_t* buffer, size_t bytes, CUpti_Activity** record) {
  BEGIN_CUPTI_CALL();
  auto* next = *record ? reinterpret_cast<uint8_t*>(*record) + kRecordBytes : buffer;
  if (next >= buffer + bytes) return CUPTI_ERROR_MAX_LIMIT_REACHED;
  *record = reinterpret_cast<CUpti_Activity*>(next);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityGetNumDroppedRecords(CUcontext, uint32_t, size_t* count) {
  *count = dropped;
  dropped = 0;
  return CUPTI_SUCCESS;
}

void fake_cupti_kernel(const char* symbol, int64_t begin_ns, int64_t end_ns) {
  if (!enabled) return;
  if (auto* other = reinterpret_cast<CUpti_Activity*>(next_record()))
    other->kind = CUPTI_ACTIVITY_KIND_MEMCPY;
  auto* k = reinterpret_cast<CUpti_ActivityKernel4*>(next_record());
  if (!k) return;
  std::memset(static_cast<void*>(k), 0, sizeof *k);
  k->kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
  k->name = symbol;
  k->start = uint64_t(begin_ns);
  k->end = uint64_t(end_ns);
  k->gridX = 7;
  k->gridY = k->gridZ = 1;
  k->blockX = 128;
  k->blockY = k->blockZ = 1;
  k->registersPerThread = 40;
  k->staticSharedMemory = 1024;
  k->dynamicSharedMemory = 512;
}
void fake_cupti_lose(size_t records) {
  dropped = records;
}

}  // extern "C"
