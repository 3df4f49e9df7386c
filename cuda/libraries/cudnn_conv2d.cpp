// Convolutions by cuDNN. Those whose input goes through ReLU take a pass of their own for it; a bias is added
// in a pass of its own. Algorithms are those that give the same bits each time, in the order in which cuDNN
// expects them to be fast.
#include <algorithm>
#include <array>

#include "core/error.h"
#include "cuda/libraries/cudnn.h"
#include "ops/conv2d_plan.h"

namespace ladarts::cuda {
namespace {

constexpr int kCandidates = 3;  // algorithms of a node, at most
// Of scratch memory for an algorithm. Transforms of whole batches ask for gigabytes.
constexpr size_t kAlgorithmBytes = size_t(256) << 20;

struct ConvolutionDescriptors {
  TensorDescriptor x, y, bias;
  FilterDescriptor w;
  ConvolutionDescriptor convolution;
  ActivationDescriptor relu;

  ConvolutionDescriptors(const Conv2dGeometry& g, cudnnMathType_t math) {
    describe_tensor(x, g.n, g.c, g.h, g.w);
    describe_tensor(y, g.n, g.o, g.oh, g.ow);
    describe_tensor(bias, 1, g.o, 1, 1);
    LADARTS_CUDNN_CHECK(cudnnSetFilter4dDescriptor(w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, int(g.o),
                                                   int(g.cg), int(g.kh), int(g.kw)));
    LADARTS_CUDNN_CHECK(cudnnSetConvolution2dDescriptor(
        convolution, int(g.padding), int(g.padding), int(g.stride), int(g.stride), int(g.dilation),
        int(g.dilation), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    LADARTS_CUDNN_CHECK(cudnnSetConvolutionGroupCount(convolution, int(g.groups)));
    LADARTS_CUDNN_CHECK(cudnnSetConvolutionMathType(convolution, math));
    LADARTS_CUDNN_CHECK(
        cudnnSetActivationDescriptor(relu, CUDNN_ACTIVATION_RELU, CUDNN_NOT_PROPAGATE_NAN, 0));
  }
};

// The three passes: how cuDNN names their algorithms, and its calls. x, w and y are the operands of the
// forward pass or their gradients.
struct ForwardPass {
  using Performance = cudnnConvolutionFwdAlgoPerf_t;
  using Algorithm = cudnnConvolutionFwdAlgo_t;
  static constexpr std::array<const char*, CUDNN_CONVOLUTION_FWD_ALGO_COUNT> kNames{
      "implicit_gemm", "implicit_precomp_gemm", "gemm", "direct", "fft", "fft_tiling",
      "winograd",      "winograd_nonfused"};
  static cudnnStatus_t list(cudnnHandle_t h, const ConvolutionDescriptors& d, int room, int* n,
                            Performance* p) {
    return cudnn().cudnnGetConvolutionForwardAlgorithm_v7(h, d.x, d.w, d.convolution, d.y, room, n, p);
  }
  static cudnnStatus_t bytes(cudnnHandle_t h, const ConvolutionDescriptors& d, Algorithm a, size_t* bytes) {
    return cudnn().cudnnGetConvolutionForwardWorkspaceSize(h, d.x, d.w, d.convolution, d.y, a, bytes);
  }
};

struct InputPass {
  using Performance = cudnnConvolutionBwdDataAlgoPerf_t;
  using Algorithm = cudnnConvolutionBwdDataAlgo_t;
  static constexpr std::array<const char*, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT> kNames{
      "0", "1", "fft", "fft_tiling", "winograd", "winograd_nonfused"};
  static cudnnStatus_t list(cudnnHandle_t h, const ConvolutionDescriptors& d, int room, int* n,
                            Performance* p) {
    return cudnn().cudnnGetConvolutionBackwardDataAlgorithm_v7(h, d.w, d.y, d.convolution, d.x, room, n, p);
  }
  static cudnnStatus_t bytes(cudnnHandle_t h, const ConvolutionDescriptors& d, Algorithm a, size_t* bytes) {
    return cudnn().cudnnGetConvolutionBackwardDataWorkspaceSize(h, d.w, d.y, d.convolution, d.x, a, bytes);
  }
};

struct WeightPass {
  using Performance = cudnnConvolutionBwdFilterAlgoPerf_t;
  using Algorithm = cudnnConvolutionBwdFilterAlgo_t;
  static constexpr std::array<const char*, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT> kNames{
      "0", "1", "fft", "3", "winograd", "winograd_nonfused", "fft_tiling"};
  static cudnnStatus_t list(cudnnHandle_t h, const ConvolutionDescriptors& d, int room, int* n,
                            Performance* p) {
    return cudnn().cudnnGetConvolutionBackwardFilterAlgorithm_v7(h, d.x, d.y, d.convolution, d.w, room, n, p);
  }
  static cudnnStatus_t bytes(cudnnHandle_t h, const ConvolutionDescriptors& d, Algorithm a, size_t* bytes) {
    return cudnn().cudnnGetConvolutionBackwardFilterWorkspaceSize(h, d.x, d.y, d.convolution, d.w, a, bytes);
  }
};

// Of one pass and algorithm. Scratch: a copy of x with its ReLU, or the gradient before it; then the
// algorithm's.
template <class Pass>
class CudnnConvolution : public PreparedKernel {
 public:
  CudnnConvolution(const Conv2dGeometry& g, Device device, typename Pass::Algorithm algorithm,
                   cudnnMathType_t math)
      : device_(device),
        relu_(g.relu_input),
        algorithm_(algorithm),
        math_(math),
        descriptors_(g, math),
        copy_bytes_(g.relu_input ? cudnn_slot(size_t(g.n * g.c * g.h * g.w) * sizeof(float)) : 0) {}

  // False where cuDNN does not take it after all.
  bool plan() {
    const cudnnStatus_t status =
        Pass::bytes(cudnn_handle(device_), descriptors_, algorithm_, &algorithm_bytes_);
    return status == CUDNN_STATUS_SUCCESS && algorithm_bytes_ <= kAlgorithmBytes;
  }

  std::string name() const override {
    return fmt::format("cudnn {}{}", Pass::kNames[size_t(algorithm_)],
                       math_ == CUDNN_FMA_MATH ? "" : " tf32");
  }
  size_t workspace_bytes() const override {
    return cudnn_scratch_bytes(copy_bytes_ + cudnn_slot(algorithm_bytes_));
  }
  void run(const Op&, const KernelArgs& a) override { run_pass(a, cudnn_handle(device_, a.stream), Pass{}); }

 private:
  void* copy(const KernelArgs& a) const { return cudnn_scratch(a); }
  void* scratch(const KernelArgs& a) const {
    return algorithm_bytes_ ? cudnn_scratch(a) + copy_bytes_ : nullptr;
  }
  // x, or max(x, 0) in scratch memory.
  const void* input(const KernelArgs& a, cudnnHandle_t h, const float* x) const {
    if (!relu_) return x;
    const auto& d = descriptors_;
    LADARTS_CUDNN_CHECK(cudnnActivationForward(h, d.relu, &kOne, d.x, x, &kZero, d.x, copy(a)));
    return copy(a);
  }

  // (x, w[, bias]) -> (y)
  void run_pass(const KernelArgs& a, cudnnHandle_t h, ForwardPass) const {
    const auto& d = descriptors_;
    LADARTS_CUDNN_CHECK(cudnnConvolutionForward(h, &kOne, d.x, input(a, h, a.in(0)), d.w, a.in(1),
                                                d.convolution, algorithm_, scratch(a), algorithm_bytes_,
                                                &kZero, d.y, a.out(0)));
    if (a.n_inputs > 2) LADARTS_CUDNN_CHECK(cudnnAddTensor(h, &kOne, d.bias, a.in(2), &kOne, d.y, a.out(0)));
  }
  // (d_y, w[, x]) -> (d_x)
  void run_pass(const KernelArgs& a, cudnnHandle_t h, InputPass) const {
    const auto& d = descriptors_;
    void* const d_x = relu_ ? copy(a) : a.out(0);
    LADARTS_CUDNN_CHECK(cudnnConvolutionBackwardData(h, &kOne, d.w, a.in(1), d.y, a.in(0), d.convolution,
                                                     algorithm_, scratch(a), algorithm_bytes_,
                                                     relu_ ? &kZero : beta_of(a, 0), d.x, d_x));
    // ReLU's output is positive where its input is: x stands for both.
    if (relu_)
      LADARTS_CUDNN_CHECK(cudnnActivationBackward(h, d.relu, &kOne, d.x, a.in(2), d.x, d_x, d.x, a.in(2),
                                                  beta_of(a, 0), d.x, a.out(0)));
  }
  // (d_y, x) -> (d_w)
  void run_pass(const KernelArgs& a, cudnnHandle_t h, WeightPass) const {
    const auto& d = descriptors_;
    LADARTS_CUDNN_CHECK(cudnnConvolutionBackwardFilter(h, &kOne, d.x, input(a, h, a.in(1)), d.y, a.in(0),
                                                       d.convolution, algorithm_, scratch(a),
                                                       algorithm_bytes_, beta_of(a, 0), d.w, a.out(0)));
  }

  Device device_;
  bool relu_;
  typename Pass::Algorithm algorithm_;
  cudnnMathType_t math_;
  ConvolutionDescriptors descriptors_;
  size_t copy_bytes_, algorithm_bytes_ = 0;
};

// Tensor cores round factors to TF32 under every kind of arithmetic but FMA; ALLOW_CONVERSION permits half
// precision, which nobody asked for.
bool math_allowed(cudnnMathType_t math, bool tf32) {
  return math == CUDNN_FMA_MATH ||
         (tf32 ? math != CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION : math == CUDNN_DEFAULT_MATH);
}

template <class Pass>
PreparedKernels convolutions(const Conv2dGeometry& g, const KernelNode& node) {
  PreparedKernels result{fmt::format("stride={} padding={} dilation={} groups={}{}", g.stride, g.padding,
                                     g.dilation, g.groups, g.relu_input ? " relu_input" : ""),
                         {}};
  std::array<typename Pass::Performance, 2 * Pass::kNames.size()> list{};
  int n = 0;
  const ConvolutionDescriptors asked(g, node.tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH);
  const cudnnStatus_t status =
      Pass::list(cudnn_handle(node.device), asked, int(list.size()), &n, list.data());
  if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return result;
  cudnn().check(status, "asking for the algorithms of a convolution");
  for (int i = 0; i < n && int(result.kernels.size()) < kCandidates; ++i) {
    const auto& p = list[size_t(i)];
    if (p.status != CUDNN_STATUS_SUCCESS || p.determinism != CUDNN_DETERMINISTIC ||
        !math_allowed(p.mathType, node.tf32))
      continue;
    auto kernel = std::make_shared<CudnnConvolution<Pass>>(g, node.device, p.algo,
                                                           node.tf32 ? p.mathType : CUDNN_FMA_MATH);
    // Listed under two kinds of arithmetic that are the same here.
    const bool known = std::any_of(result.kernels.begin(), result.kernels.end(),
                                   [&](const auto& k) { return k->name() == kernel->name(); });
    if (!known && kernel->plan()) result.kernels.push_back(std::move(kernel));
  }
  return result;
}

// cuDNN wants x as one tensor and one weight; x in parts and several weights are read by our kernels.
PreparedKernels prepare_forward(const Conv2d& op, const KernelNode& node) {
  if (op.parts > 1 || op.outputs > 1) return {};
  return convolutions<ForwardPass>(conv2d_geometry(op.desc, node.shapes.inputs[0], node.shapes.inputs[1]),
                                   node);
}
PreparedKernels prepare_grad_input(const Conv2dGradInput& op, const KernelNode& node) {
  if (op.outputs > 1 || node.shapes.outputs[0][1] != node.shapes.inputs[1][1] * op.desc.groups) return {};
  return convolutions<InputPass>(conv2d_geometry(op.desc, node.shapes.outputs[0], node.shapes.inputs[1]),
                                 node);
}
PreparedKernels prepare_grad_weight(const Conv2dGradWeight& op, const KernelNode& node) {
  if (op.outputs > 1 || node.shapes.inputs.size() > 2) return {};
  return convolutions<WeightPass>(conv2d_geometry(op.desc, node.shapes.inputs[1], node.shapes.outputs[0]),
                                  node);
}

const PrepareRegistration<Conv2d, prepare_forward> forward_registered(cudnn_table(), {"conv2d"});
const PrepareRegistration<Conv2dGradInput, prepare_grad_input> input_registered(cudnn_table(),
                                                                                {"conv2d_grad_input"});
const PrepareRegistration<Conv2dGradWeight, prepare_grad_weight> weight_registered(cudnn_table(),
                                                                                   {"conv2d_grad_weight"});

}  // namespace
}  // namespace ladarts::cuda
