// CUPTI's activity records, loaded at run time.
#pragma once

#include <cupti.h>

#include <string>

namespace ladarts::cuda {

#define LADARTS_CUPTI_FUNCTIONS(X)  \
  X(cuptiGetResultString)           \
  X(cuptiActivityRegisterCallbacks) \
  X(cuptiActivityEnable)            \
  X(cuptiActivityDisable)           \
  X(cuptiActivityFlushAll)          \
  X(cuptiActivityGetNextRecord)     \
  X(cuptiActivityGetNumDroppedRecords)

struct CuptiApi {
#define LADARTS_CUPTI_POINTER(name) decltype(&::name) name = nullptr;
  LADARTS_CUPTI_FUNCTIONS(LADARTS_CUPTI_POINTER)
#undef LADARTS_CUPTI_POINTER

  void check(CUptiResult status, const char* what) const;  // throws Error
};

// Throws Error where it cannot be loaded or lacks a function.
CuptiApi load_cupti(const std::string& file);
// The process's, loaded at the first call: LADARTS_CUPTI's file, or the toolkit's (CUDA_PATH,
// /usr/local/cuda), or where the system's loader looks.
const CuptiApi& cupti();

}  // namespace ladarts::cuda
