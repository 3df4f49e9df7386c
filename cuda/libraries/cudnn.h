// cuDNN, loaded at run time: the functions that are used, handles, and descriptors that free themselves.
// Single precision throughout. How its kernels stand beside the project's own: docs/cuda.md.
#pragma once

#include <cudnn.h>

#include <span>
#include <string>

#include "core/kernel_library.h"
#include "core/shape.h"
#include "cuda/libraries/prepare_table.h"

namespace ladarts::cuda {

#define LADARTS_CUDNN_FUNCTIONS(X)                  \
  X(cudnnGetVersion)                                \
  X(cudnnGetErrorString)                            \
  X(cudnnGetLastErrorString)                        \
  X(cudnnCreate)                                    \
  X(cudnnSetStream)                                 \
  X(cudnnCreateTensorDescriptor)                    \
  X(cudnnDestroyTensorDescriptor)                   \
  X(cudnnSetTensor4dDescriptorEx)                   \
  X(cudnnSetTensor)                                 \
  X(cudnnAddTensor)                                 \
  X(cudnnCreateFilterDescriptor)                    \
  X(cudnnDestroyFilterDescriptor)                   \
  X(cudnnSetFilter4dDescriptor)                     \
  X(cudnnCreateConvolutionDescriptor)               \
  X(cudnnDestroyConvolutionDescriptor)              \
  X(cudnnSetConvolution2dDescriptor)                \
  X(cudnnSetConvolutionGroupCount)                  \
  X(cudnnSetConvolutionMathType)                    \
  X(cudnnGetConvolutionForwardAlgorithm_v7)         \
  X(cudnnGetConvolutionForwardWorkspaceSize)        \
  X(cudnnConvolutionForward)                        \
  X(cudnnGetConvolutionBackwardDataAlgorithm_v7)    \
  X(cudnnGetConvolutionBackwardDataWorkspaceSize)   \
  X(cudnnConvolutionBackwardData)                   \
  X(cudnnGetConvolutionBackwardFilterAlgorithm_v7)  \
  X(cudnnGetConvolutionBackwardFilterWorkspaceSize) \
  X(cudnnConvolutionBackwardFilter)                 \
  X(cudnnCreateActivationDescriptor)                \
  X(cudnnDestroyActivationDescriptor)               \
  X(cudnnSetActivationDescriptor)                   \
  X(cudnnActivationForward)                         \
  X(cudnnActivationBackward)                        \
  X(cudnnCreatePoolingDescriptor)                   \
  X(cudnnDestroyPoolingDescriptor)                  \
  X(cudnnSetPooling2dDescriptor)                    \
  X(cudnnPoolingForward)                            \
  X(cudnnPoolingBackward)                           \
  X(cudnnBatchNormalizationForwardTraining)         \
  X(cudnnBatchNormalizationBackward)

struct CudnnApi {
#define LADARTS_CUDNN_POINTER(name) decltype(&::name) name = nullptr;
  LADARTS_CUDNN_FUNCTIONS(LADARTS_CUDNN_POINTER)
#undef LADARTS_CUDNN_POINTER
  std::string file;

  std::string version() const;  // "9.19.0"
  // Throws Error with the call, cuDNN's words and the code.
  void check(cudnnStatus_t status, const char* call) const;
};

// Throws Error where the file cannot be loaded, lacks a function, or is of another major version than the
// headers.
CudnnApi load_cudnn(const std::string& file);
const CudnnApi& cudnn();  // what LADARTS_CUDNN names, or libcudnn.so; loaded by the first call
// Of the device, for work on `stream`. Called from one thread at a time, as the device's stream is.
cudnnHandle_t cudnn_handle(Device device, void* stream = nullptr);
PrepareTable& cudnn_table();

#define LADARTS_CUDNN_CHECK(call) ::ladarts::cuda::cudnn().check(::ladarts::cuda::cudnn().call, #call)

template <class T, auto create, auto destroy>
class CudnnDescriptor {
 public:
  CudnnDescriptor() { cudnn().check((cudnn().*create)(&value_), "making a descriptor"); }
  ~CudnnDescriptor() { (cudnn().*destroy)(value_); }
  CudnnDescriptor(const CudnnDescriptor&) = delete;
  CudnnDescriptor& operator=(const CudnnDescriptor&) = delete;
  operator T() const { return value_; }

 private:
  T value_ = nullptr;
};
using TensorDescriptor = CudnnDescriptor<cudnnTensorDescriptor_t, &CudnnApi::cudnnCreateTensorDescriptor,
                                         &CudnnApi::cudnnDestroyTensorDescriptor>;
using FilterDescriptor = CudnnDescriptor<cudnnFilterDescriptor_t, &CudnnApi::cudnnCreateFilterDescriptor,
                                         &CudnnApi::cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor =
    CudnnDescriptor<cudnnConvolutionDescriptor_t, &CudnnApi::cudnnCreateConvolutionDescriptor,
                    &CudnnApi::cudnnDestroyConvolutionDescriptor>;
using ActivationDescriptor =
    CudnnDescriptor<cudnnActivationDescriptor_t, &CudnnApi::cudnnCreateActivationDescriptor,
                    &CudnnApi::cudnnDestroyActivationDescriptor>;
using PoolingDescriptor = CudnnDescriptor<cudnnPoolingDescriptor_t, &CudnnApi::cudnnCreatePoolingDescriptor,
                                          &CudnnApi::cudnnDestroyPoolingDescriptor>;

// cuDNN takes sizes as int and no empty tensors.
bool cudnn_takes(std::span<const Shape> shapes);

// A dense tensor (N, C, H, W). The first `channels` of `all_channels`: those between two images are skipped.
void describe_tensor(cudnnTensorDescriptor_t t, int64_t n, int64_t channels, int64_t h, int64_t w,
                     int64_t all_channels);
inline void describe_tensor(cudnnTensorDescriptor_t t, int64_t n, int64_t c, int64_t h, int64_t w) {
  describe_tensor(t, n, c, h, w, c);
}

// Scratch memory is planned in 64-byte steps; parts of it for cuDNN begin at multiples of 256.
constexpr size_t kCudnnAlignment = 256;
constexpr size_t cudnn_slot(size_t bytes) {
  return (bytes + kCudnnAlignment - 1) / kCudnnAlignment * kCudnnAlignment;
}
// For slots of `bytes` together.
constexpr size_t cudnn_scratch_bytes(size_t bytes) {
  return bytes ? bytes + kCudnnAlignment : 0;
}
inline std::byte* cudnn_scratch(const KernelArgs& a) {
  return reinterpret_cast<std::byte*>(cudnn_slot(reinterpret_cast<size_t>(a.workspace)));
}

inline constexpr float kOne = 1, kZero = 0;  // cuDNN's factors: result = alpha * op + beta * what was there
inline const float* beta_of(const KernelArgs& a, int output) {
  return a.accumulate(output) ? &kOne : &kZero;
}

}  // namespace ladarts::cuda
