// cuBLAS, loaded at run time: the functions that are used, and a handle for each device.
#pragma once

#include <cublas_v2.h>

#include <string>

#include "core/kernel_library.h"
#include "cuda/libraries/prepare_table.h"

namespace ladarts::cuda {

#define LADARTS_CUBLAS_FUNCTIONS(X) \
  X(cublasGetProperty)              \
  X(cublasGetStatusString)          \
  X(cublasCreate_v2)                \
  X(cublasSetStream_v2)             \
  X(cublasSetWorkspace_v2)          \
  X(cublasSetMathMode)              \
  X(cublasSgemm_v2)

struct CublasApi {
#define LADARTS_CUBLAS_POINTER(name) decltype(&::name) name = nullptr;
  LADARTS_CUBLAS_FUNCTIONS(LADARTS_CUBLAS_POINTER)
#undef LADARTS_CUBLAS_POINTER
  std::string file;

  int major() const;
  std::string version() const;  // "13.1.0"
  // Throws Error with the call, cuBLAS's words and the code.
  void check(cublasStatus_t status, const char* call) const;
};

// Throws Error where the file cannot be loaded, lacks a function, or is of another major version than the
// headers.
CublasApi load_cublas(const std::string& file);
const CublasApi& cublas();  // what LADARTS_CUBLAS names, or libcublas.so; loaded by the first call
// Of the device, for work on args.stream with args.workspace, kCublasBytes of it, as scratch memory: with
// memory of its own cuBLAS could not be recorded. Called from one thread at a time, as the device's stream
// is.
cublasHandle_t cublas_handle(Device device, const KernelArgs& args, bool tf32);
void make_cublas_handle(Device device);  // which allocates: not while a program is recorded
PrepareTable& cublas_table();

// NVIDIA's recommendation for GPUs up to Ampere; from Hopper on it is 32 MiB, much beside what a network of
// one image needs.
constexpr size_t kCublasBytes = size_t(4) << 20;

#define LADARTS_CUBLAS_CHECK(call) ::ladarts::cuda::cublas().check(::ladarts::cuda::cublas().call, #call)

}  // namespace ladarts::cuda
