// Pooling by cuDNN. Not the gradient of maxima: cuDNN does not say which of equal ones it goes to, and after
// a ReLU many are equal.
#include "core/error.h"
#include "cuda/libraries/cudnn.h"
#include "ops/pool2d.h"

namespace ladarts::cuda {
namespace {

struct PoolSizes {
  int64_t n, channels, all_channels, h, w, oh, ow;
  int64_t window_h, window_w, padding, stride;
};

PoolSizes sizes_of(const Pool2dDesc& d, const Shape& x, int64_t oh, int64_t ow) {
  return {x[0],    d.channels ? d.channels : x[1], x[1], x[2], x[3], oh, ow, d.kernel, d.kernel, d.padding,
          d.stride};
}
PoolSizes global_sizes(const Shape& x) {
  return {x[0], x[1], x[1], x[2], x[3], 1, 1, x[2], x[3], 0, 1};
}

class CudnnPooling : public PreparedKernel {
 public:
  CudnnPooling(const PoolSizes& s, PoolKind kind, Device device)
      : device_(device), all_pooled_(s.channels == s.all_channels) {
    describe_tensor(x_, s.n, s.channels, s.h, s.w, s.all_channels);
    describe_tensor(all_of_x_, s.n, s.all_channels, s.h, s.w);
    describe_tensor(y_, s.n, s.channels, s.oh, s.ow);
    LADARTS_CUDNN_CHECK(cudnnSetPooling2dDescriptor(
        pooling_, kind == PoolKind::max ? CUDNN_POOLING_MAX : CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING,
        CUDNN_NOT_PROPAGATE_NAN, int(s.window_h), int(s.window_w), int(s.padding), int(s.padding),
        int(s.stride), int(s.stride)));
  }
  std::string name() const override { return "cudnn pooling"; }
  size_t workspace_bytes() const override { return 0; }

 protected:
  Device device_;
  bool all_pooled_;
  TensorDescriptor x_, all_of_x_, y_;
  PoolingDescriptor pooling_;
};

class CudnnPoolingForward : public CudnnPooling {  // (x) -> (y)
 public:
  using CudnnPooling::CudnnPooling;
  void run(const Op&, const KernelArgs& a) override {
    LADARTS_CUDNN_CHECK(cudnnPoolingForward(cudnn_handle(device_, a.stream), pooling_, &kOne, x_, a.in(0),
                                            &kZero, y_, a.out(0)));
  }
};

class CudnnAveragesBackward : public CudnnPooling {  // (d_y) -> (d_x)
 public:
  CudnnAveragesBackward(const PoolSizes& s, Device device) : CudnnPooling(s, PoolKind::average, device) {}
  void run(const Op&, const KernelArgs& a) override {
    cudnnHandle_t const h = cudnn_handle(device_, a.stream);
    if (!all_pooled_ && !a.accumulate(0)) LADARTS_CUDNN_CHECK(cudnnSetTensor(h, all_of_x_, a.out(0), &kZero));
    // Averages have a gradient whatever x and y were: memory of their sizes stands for them.
    LADARTS_CUDNN_CHECK(cudnnPoolingBackward(h, pooling_, &kOne, y_, a.in(0), y_, a.in(0), x_, a.out(0),
                                             beta_of(a, 0), x_, a.out(0)));
  }
};

std::string parameters_of(const Pool2dDesc& d) {
  return fmt::format("kernel={} stride={} padding={} channels={}", d.kernel, d.stride, d.padding, d.channels);
}

PreparedKernels prepare_pool(const Pool2d& op, const KernelNode& node) {
  if (op.kind == PoolKind::both) return {};
  const Shape& y = node.shapes.outputs[0];
  return {parameters_of(op.desc),
          {std::make_shared<CudnnPoolingForward>(sizes_of(op.desc, node.shapes.inputs[0], y[2], y[3]),
                                                 op.kind, node.device)}};
}

PreparedKernels prepare_averages_grad(const Pool2dGrad& op, const KernelNode& node) {
  if (!op.d_max.empty() || !op.late.empty()) return {};
  if (op.d_average.size() != 1 || op.d_average[0].factors >= 0) return {};  // a sum of scaled channels
  const Shape& y = node.shapes.inputs[size_t(op.d_average[0].source)];
  return {parameters_of(op.desc),
          {std::make_shared<CudnnAveragesBackward>(sizes_of(op.desc, node.shapes.outputs[0], y[2], y[3]),
                                                   node.device)}};
}

PreparedKernels prepare_global_pool(const GlobalAvgPool&, const KernelNode& node) {
  return {"",
          {std::make_shared<CudnnPoolingForward>(global_sizes(node.shapes.inputs[0]), PoolKind::average,
                                                 node.device)}};
}

PreparedKernels prepare_global_pool_grad(const GlobalAvgPoolGrad&, const KernelNode& node) {
  return {"", {std::make_shared<CudnnAveragesBackward>(global_sizes(node.shapes.outputs[0]), node.device)}};
}

const PrepareRegistration<Pool2d, prepare_pool> pool_registered(cudnn_table(), {"max_pool2d", "avg_pool2d"});
const PrepareRegistration<Pool2dGrad, prepare_averages_grad> averages_registered(cudnn_table(),
                                                                                 {"avg_pool2d_grad"});
const PrepareRegistration<GlobalAvgPool, prepare_global_pool> global_registered(cudnn_table(),
                                                                                {"global_avg_pool"});
const PrepareRegistration<GlobalAvgPoolGrad, prepare_global_pool_grad> global_grad_registered(
    cudnn_table(), {"global_avg_pool_grad"});

}  // namespace
}  // namespace ladarts::cuda
