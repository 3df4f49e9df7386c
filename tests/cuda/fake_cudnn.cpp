// Handle, descriptors, and operations on single tensors.
#include "tests/cuda/fake_cudnn.h"

#include <algorithm>
#include <cstring>

using namespace fake;

namespace {

const char* last_error = "";

template <class D>
cudnnStatus_t make(D** d) {
  REQUIRE_THAT(d != nullptr);
  *d = new D;
  return kOk;
}

}  // namespace

cudnnStatus_t fake::bad(const char* why) {
  last_error = why;
  return kBad;
}

extern "C" {

size_t cudnnGetVersion() {
  return fake::version_override ? size_t(fake::version_override) : CUDNN_VERSION;
}
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == kBad ? "CUDNN_STATUS_BAD_PARAM" : "CUDNN_STATUS_OF_THE_STAND_IN";
}
void cudnnGetLastErrorString(char* message, size_t max) {
  std::strncpy(message, last_error, max - 1);
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  BEGIN_CALL();
  return make(handle);
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  BEGIN_CALL();
  REQUIRE_THAT(handle != nullptr);
  handle->stream = stream;
  return kOk;
}

#define DESCRIPTOR(Name, Type)                           \
  cudnnStatus_t cudnnCreate##Name##Descriptor(Type* d) { \
    BEGIN_CALL();                                        \
    return make(d);                                      \
  }                                                      \
  cudnnStatus_t cudnnDestroy##Name##Descriptor(Type d) { \
    delete d;                                            \
    return kOk;                                          \
  }
DESCRIPTOR(Tensor, cudnnTensorDescriptor_t)
DESCRIPTOR(Filter, cudnnFilterDescriptor_t)
DESCRIPTOR(Convolution, cudnnConvolutionDescriptor_t)
DESCRIPTOR(Activation, cudnnActivationDescriptor_t)
DESCRIPTOR(Pooling, cudnnPoolingDescriptor_t)

cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t t, cudnnDataType_t type, int n, int c,
                                           int h, int w, int n_stride, int c_stride, int h_stride,
                                           int w_stride) {
  BEGIN_CALL();
  REQUIRE_THAT(t && type == CUDNN_DATA_FLOAT && n > 0 && c > 0 && h > 0 && w > 0);
  REQUIRE_THAT(w_stride == 1 && h_stride == w && c_stride == h * w && n_stride >= c * h * w);
  *t = {n, c, h, w, n_stride, c_stride, h_stride, w_stride};
  return kOk;
}
cudnnStatus_t cudnnSetTensor(cudnnHandle_t h, const cudnnTensorDescriptor_t d, void* y, const void* value) {
  BEGIN_CALL();
  REQUIRE_THAT(h && d && d->set() && y && value);
  fake::queue(h->stream, [y = static_cast<float*>(y), d = *d, v = *static_cast<const float*>(value)] {
    each_output(d, [&](int n, int c, int r, int s) { y[d.at(n, c, r, s)] = v; });
  });
  return kOk;
}
cudnnStatus_t cudnnAddTensor(cudnnHandle_t h, const void* alpha, const cudnnTensorDescriptor_t a_desc,
                             const void* a, const void* beta, const cudnnTensorDescriptor_t c_desc, void* c) {
  BEGIN_CALL();
  REQUIRE_THAT(h && a && c && a_desc->set() && per_channel(*a_desc, *c_desc));
  fake::queue(h->stream, [a = static_cast<const float*>(a), c = static_cast<float*>(c), d = *c_desc,
                          blend = Blend(alpha, beta)] {
    each_output(d, [&](int n, int ch, int r, int s) { blend.store(c[d.at(n, ch, r, s)], double(a[ch])); });
  });
  return kOk;
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t f, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  BEGIN_CALL();
  REQUIRE_THAT(f && type == CUDNN_DATA_FLOAT && format == CUDNN_TENSOR_NCHW && k > 0 && c > 0 && h > 0 &&
               w > 0);
  *f = {k, c, h, w};
  return kOk;
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d, int pad_h, int pad_w, int u,
                                              int v, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t type) {
  BEGIN_CALL();
  REQUIRE_THAT(d && mode == CUDNN_CROSS_CORRELATION && type == CUDNN_DATA_FLOAT);
  REQUIRE_THAT(pad_h == pad_w && u == v && dilation_h == dilation_w && pad_h >= 0 && u > 0 && dilation_h > 0);
  d->padding = pad_h;
  d->stride = u;
  d->dilation = dilation_h;
  return kOk;
}
cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t d, int groups) {
  BEGIN_CALL();
  REQUIRE_THAT(d && groups > 0);
  d->groups = groups;
  return kOk;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t d, cudnnMathType_t math) {
  BEGIN_CALL();
  REQUIRE_THAT(d != nullptr);
  d->math = math;
  return kOk;
}

cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t d, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t, double) {
  BEGIN_CALL();
  REQUIRE_THAT(d && mode == CUDNN_ACTIVATION_RELU);
  d->set = true;
  return kOk;
}
cudnnStatus_t cudnnActivationForward(cudnnHandle_t h, cudnnActivationDescriptor_t d, const void* alpha,
                                     const cudnnTensorDescriptor_t x_desc, const void* x, const void* beta,
                                     const cudnnTensorDescriptor_t y_desc, void* y) {
  BEGIN_CALL();
  REQUIRE_THAT(h && d->set && x && y && x_desc->set() && x_desc->same_sizes(*y_desc));
  fake::queue(h->stream, [px = static_cast<const float*>(x), py = static_cast<float*>(y), xd = *x_desc,
                          yd = *y_desc, blend = Blend(alpha, beta)] {
    each_output(xd, [&](int n, int c, int r, int s) {
      blend.store(py[yd.at(n, c, r, s)], std::max(0.0, double(px[xd.at(n, c, r, s)])));
    });
  });
  return kOk;
}
cudnnStatus_t cudnnActivationBackward(cudnnHandle_t h, cudnnActivationDescriptor_t d, const void* alpha,
                                      const cudnnTensorDescriptor_t y_desc, const void* y,
                                      const cudnnTensorDescriptor_t dy_desc, const void* dy,
                                      const cudnnTensorDescriptor_t x_desc, const void* x, const void* beta,
                                      const cudnnTensorDescriptor_t dx_desc, void* dx) {
  BEGIN_CALL();
  REQUIRE_THAT(h && d->set && y && dy && x && dx && y_desc->same_sizes(*x_desc) &&
               dy_desc->same_sizes(*dx_desc));
  fake::queue(h->stream,
              [py = static_cast<const float*>(y), pd = static_cast<const float*>(dy),
               px = static_cast<float*>(dx), dd = *dy_desc, yd = *y_desc, blend = Blend(alpha, beta)] {
                each_output(dd, [&](int n, int c, int r, int s) {
                  const int64_t i = dd.at(n, c, r, s);
                  blend.store(px[i], py[yd.at(n, c, r, s)] > 0 ? double(pd[i]) : 0.0);
                });
              });
  return kOk;
}

}  // extern "C"
