// A library that looks like cuBLAS, on memory of the host: plain loops in double precision, strict about its
// arguments.
#include <cublas_v2.h>

#include <cstring>

#include "tests/cuda/fake_base.h"

struct cublasContext {
  void* stream = nullptr;
  void* scratch = nullptr;
  size_t bytes = 0;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

namespace {

#define BEGIN_BLAS_CALL() \
  if (const int status = fake::begin_call(__func__)) return cublasStatus_t(status)

}  // namespace

extern "C" {

cublasStatus_t cublasGetProperty(libraryPropertyType type, int* value) {
  const int version = fake::version_override ? fake::version_override : CUBLAS_VERSION;
  *value = type == MAJOR_VERSION   ? version / 10000
           : type == MINOR_VERSION ? version / 100 % 100
                                   : version % 100;
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE"
                                               : "CUBLAS_STATUS_OF_THE_STAND_IN";
}
cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  BEGIN_BLAS_CALL();
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t stream) {
  BEGIN_BLAS_CALL();
  if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
  h->stream = stream;
  h->scratch = nullptr;  // as the real one does
  h->bytes = 0;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t h, void* scratch, size_t bytes) {
  BEGIN_BLAS_CALL();
  if (!h || !scratch) return CUBLAS_STATUS_INVALID_VALUE;
  h->scratch = scratch;
  h->bytes = bytes;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t h, cublasMath_t math) {
  BEGIN_BLAS_CALL();
  h->math = math;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSgemm_v2(cublasHandle_t h, cublasOperation_t a_op, cublasOperation_t b_op, int m, int n,
                              int k, const float* alpha, const float* a, int lda, const float* b, int ldb,
                              const float* beta, float* c, int ldc) {
  BEGIN_BLAS_CALL();
  const bool a_plain = a_op == CUBLAS_OP_N, b_plain = b_op == CUBLAS_OP_N;
  if (!h || !h->scratch || (h->math != CUBLAS_DEFAULT_MATH && h->math != CUBLAS_TF32_TENSOR_OP_MATH) ||
      m <= 0 || n <= 0 || k <= 0 || !a || !b || !c || lda < (a_plain ? m : k) || ldb < (b_plain ? k : n) ||
      ldc < m)
    return CUBLAS_STATUS_INVALID_VALUE;
  fake::queue(h->stream, [=, alpha = double(*alpha), beta = double(*beta),
                          round = h->math != CUBLAS_DEFAULT_MATH, scratch = h->scratch, bytes = h->bytes] {
    std::memset(scratch, 0xff, bytes);
    const auto factor = [round](float v) { return double(round ? fake::to_tf32(v) : v); };
    for (int j = 0; j < n; ++j)
      for (int i = 0; i < m; ++i) {
        double sum = 0;
        for (int l = 0; l < k; ++l)
          sum += factor(a_plain ? a[i + l * int64_t(lda)] : a[l + i * int64_t(lda)]) *
                 factor(b_plain ? b[l + j * int64_t(ldb)] : b[j + l * int64_t(ldb)]);
        float& to = c[i + j * int64_t(ldc)];
        to = float(alpha * sum + (beta != 0 ? beta * double(to) : 0.0));
      }
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
