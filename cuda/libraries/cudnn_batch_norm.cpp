// Batch normalisation by the batch's statistics, with cuDNN. Not by running statistics: cuDNN writes neither
// them nor 1 / deviation there, which are results of the op.
#include "core/error.h"
#include "cuda/libraries/cudnn.h"
#include "ops/batch_norm.h"

namespace ladarts::cuda {
namespace {

// cuDNN always has a scale and an offset. Scratch memory holds those of a norm without, and results that
// nobody asked for: slots of one value a channel.
class CudnnBatchNorm : public PreparedKernel {
 public:
  CudnnBatchNorm(const Shape& x, bool affine, int slots, Device device)
      : device_(device), affine_(affine), slots_(slots), slot_(cudnn_slot(size_t(x[1]) * sizeof(float))) {
    const int64_t h = x.rank() == 4 ? x[2] : 1, w = x.rank() == 4 ? x[3] : 1;
    describe_tensor(x_, x[0], x[1], h, w);
    describe_tensor(channels_, 1, x[1], 1, 1);
  }
  std::string name() const override { return "cudnn batch_norm"; }
  size_t workspace_bytes() const override { return cudnn_scratch_bytes(size_t(slots_) * slot_); }

 protected:
  float* slot(const KernelArgs& a, int i) const {
    return reinterpret_cast<float*>(cudnn_scratch(a) + size_t(i) * slot_);
  }
  const float* filled(cudnnHandle_t h, float* at, const float* value) const {
    LADARTS_CUDNN_CHECK(cudnnSetTensor(h, channels_, at, value));
    return at;
  }

  Device device_;
  bool affine_;
  int slots_;
  size_t slot_;
  TensorDescriptor x_, channels_;
};

// (x, [gamma, beta], [running_mean, running_var]) -> (y, mean, inv_std)
class CudnnBatchNormForward : public CudnnBatchNorm {
 public:
  CudnnBatchNormForward(const BatchNorm& op, const Shape& x, Device device)
      : CudnnBatchNorm(x, op.has_affine, op.has_affine ? 0 : 2, device) {}
  void run(const Op& o, const KernelArgs& a) override {
    const auto& op = static_cast<const BatchNorm&>(o);
    cudnnHandle_t const h = cudnn_handle(device_, a.stream);
    const float* gamma = affine_ ? a.in(1) : filled(h, slot(a, 0), &kOne);
    const float* beta = affine_ ? a.in(2) : filled(h, slot(a, 1), &kZero);
    const int running = affine_ ? 3 : 1;
    LADARTS_CUDNN_CHECK(cudnnBatchNormalizationForwardTraining(
        h, CUDNN_BATCHNORM_SPATIAL, &kOne, &kZero, x_, a.in(0), x_, a.out(0), channels_, gamma, beta,
        double(op.momentum), op.has_running ? a.updated(running) : nullptr,
        op.has_running ? a.updated(running + 1) : nullptr, double(op.eps), a.out(1), a.out(2)));
  }
};

// (x, d_y, mean, inv_std, [gamma]) -> d_x and those wanted of (d_gamma, d_beta)
class CudnnBatchNormBackward : public CudnnBatchNorm {
 public:
  CudnnBatchNormBackward(const BatchNormGrad& op, const Shape& x, Device device)
      : CudnnBatchNorm(x, op.has_affine, 3, device) {}
  void run(const Op& o, const KernelArgs& a) override {
    const auto& op = static_cast<const BatchNormGrad&>(o);
    cudnnHandle_t const h = cudnn_handle(device_, a.stream);
    const float* gamma = affine_ ? a.in(4) : filled(h, slot(a, 0), &kOne);
    float* const d_gamma = op.wants_gamma ? a.out(1) : slot(a, 1);
    float* const d_beta = op.wants_beta ? a.out(op.wants_gamma ? 2 : 1) : slot(a, 2);
    const float* adds = a.n_outputs > 1 ? beta_of(a, 1) : &kZero;  // prepare() saw that both do, or none
    // Where one is added to, so is what nobody asked for.
    if (*adds != 0 && !op.wants_gamma) filled(h, d_gamma, &kZero);
    if (*adds != 0 && !op.wants_beta) filled(h, d_beta, &kZero);
    constexpr double kUnused = 1e-5;  // cuDNN's epsilon: inv_std holds the op's
    LADARTS_CUDNN_CHECK(cudnnBatchNormalizationBackward(
        h, CUDNN_BATCHNORM_SPATIAL, &kOne, beta_of(a, 0), &kOne, adds, x_, a.in(0), x_, a.in(1), x_, a.out(0),
        channels_, gamma, d_gamma, d_beta, kUnused, a.in(2), a.in(3)));
  }
};

PreparedKernels prepare_norm(const BatchNorm& op, const KernelNode& node) {
  if (!op.batch_statistics || double(op.eps) < CUDNN_BN_MIN_EPSILON) return {};
  return {fmt::format("{}{}", op.has_affine ? "affine" : "plain", op.has_running ? " running" : ""),
          {std::make_shared<CudnnBatchNormForward>(op, node.shapes.inputs[0], node.device)}};
}

PreparedKernels prepare_norm_grad(const BatchNormGrad& op, const KernelNode& node) {
  if (!op.batch_statistics || !op.wants_x) return {};  // cuDNN always computes the gradient of x
  // One factor says for both parameters whether their gradients are added to.
  if (op.wants_gamma && op.wants_beta && node.accumulates[1] != node.accumulates[2]) return {};
  return {fmt::format("{}{}{}", op.has_affine ? "affine" : "plain", op.wants_gamma ? " gamma" : "",
                      op.wants_beta ? " beta" : ""),
          {std::make_shared<CudnnBatchNormBackward>(op, node.shapes.inputs[0], node.device)}};
}

const PrepareRegistration<BatchNorm, prepare_norm> norm_registered(cudnn_table(), {"batch_norm"});
const PrepareRegistration<BatchNormGrad, prepare_norm_grad> norm_grad_registered(cudnn_table(),
                                                                                 {"batch_norm_grad"});

}  // namespace
}  // namespace ladarts::cuda
