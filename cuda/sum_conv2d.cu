// The kernels of 1x1 convolutions over sums of terms that are formed as they are loaded; the mask of the
// input's gradient is formed as it is stored.
#include "ops/sum_conv2d.h"

#include "cuda/conv2d_launch.cuh"
#include "cuda/kernel.h"
#include "cuda/norm_sum.cuh"
#include "ops/sum_conv2d_plan.h"

namespace ladarts::cuda {
namespace {

// A term of a part (N, channels, H, W), times a factor and plus an offset for each channel.
struct AffineTerm {
  const float* y;                  // null: there is none
  const float *factors, *offsets;  // null: 1 and 0
};

// One channel of one image.
struct SummedPlane {
  const float* y[kMostSumTerms];
  float factor[kMostSumTerms];
  float offset;
  __device__ float operator[](uint32_t i) const {
    float sum = offset;
    for (int t = 0; t < kMostSumTerms; ++t)
      if (y[t]) sum += factor[t] * y[t][i];
    return sum;
  }
};

// In place of OnePart or ManyParts (cuda/channel_parts.cuh).
struct SummedParts {
  AffineTerm term[kMostParts][kMostSumTerms];
  uint32_t channels;
  __device__ SummedPlane plane(int64_t n, uint32_t c, uint32_t pixels) const {
    SummedPlane plane{};
    const uint32_t channel = c % channels;
    for (int t = 0; t < kMostSumTerms; ++t) {
      const AffineTerm& k = term[c / channels][t];
      if (!k.y) continue;
      plane.y[t] = k.y + (n * channels + channel) * pixels;
      plane.factor[t] = k.factors ? k.factors[channel] : 1.f;
      plane.offset += k.offsets ? k.offsets[channel] : 0.f;
    }
    return plane;
  }
};

SummedParts summed_parts(const std::vector<GradientSum>& parts, const KernelArgs& a, int64_t channels) {
  SummedParts x{};
  x.channels = size32(channels);
  for (size_t p = 0; p < parts.size(); ++p)
    for (size_t k = 0; k < parts[p].size(); ++k) {
      const GradientTerm& t = parts[p][k];
      const float* const affine = t.factors < 0 ? nullptr : a.in(t.factors);
      x.term[p][k] = {a.in(t.source), affine, affine ? affine + channels : nullptr};
    }
  return x;
}

// Where the input's gradient goes: zero where a part's sum is not above 0.
struct StoreSums {
  SummedParts x;
  uint32_t pixels;
  float* d_sum[kMostParts];
  bool add;
  __device__ void operator()(uint32_t, uint32_t m, uint32_t n, float v) const {
    const uint32_t image = n / pixels, pixel = n % pixels;
    if (!(x.plane(image, m, pixels)[pixel] > 0.f)) v = 0.f;
    float& d = d_sum[m / x.channels][(int64_t(image) * x.channels + m % x.channels) * pixels + pixel];
    d = add ? d + v : v;
  }
};

Conv2dGeometry geometry_of(const std::vector<GradientSum>& parts, const Shape& part, const Shape& y) {
  return sum_conv2d_geometry(parts, part, {&y, 1});
}

// The convolutions of a joint op are launched one by one.
void sum_conv2d(const SumConv2d& op, const KernelArgs& a) {
  const SummedParts x = summed_parts(op.parts, a, a.in_shape(0)[1]);
  for (int i = 0; i < op.outputs; ++i) {
    const Conv2dGeometry g = geometry_of(op.parts, a.in_shape(0), a.out_shape(i));
    check_sizes(g);
    dense_forward(g, x, a.in(op.weights_at + i), nullptr, a.out(i), a.stream);
  }
}

void sum_conv2d_grad(const SumConv2dGrad& op, const KernelArgs& a) {
  const Shape& part = a.in_shape(2 * op.outputs);
  const SummedParts x = summed_parts(op.parts, a, part[1]);
  StoreSums store{x, size32(part[2] * part[3]), {}, false};
  for (size_t p = 0; p < op.parts.size(); ++p) store.d_sum[p] = a.out(op.first_sum() + int(p));
  for (int i = 0; i < op.outputs; ++i) {
    const Conv2dGeometry g = geometry_of(op.parts, part, a.in_shape(i));
    check_sizes(g);
    store.add = i > 0;
    parts_grad_input(g, a.in(i), a.in(op.outputs + i), store, a.stream);
  }
  for (size_t i = 0; i < op.trained.size(); ++i) {
    const int output = op.trained[i], at = int(op.affines.size() + i);
    dense_grad_weight(geometry_of(op.parts, part, a.in_shape(output)), a.in(output), x,
                      reinterpret_cast<float*>(a.workspace), a.out(at), a.accumulate(at), a.stream);
  }
  for (size_t i = 0; i < op.affines.size(); ++i) {
    const auto [p, k] = op.affines[i];
    affine_gradient(part, store.d_sum[p], a.in(op.parts[size_t(p)][size_t(k)].source), a.out(int(i)),
                    a.accumulate(int(i)), a.workspace, a.stream);
  }
}
size_t sum_conv2d_grad_workspace(const SumConv2dGrad& op, const NodeShapes& s) {
  const Shape& part = s.inputs[size_t(2 * op.outputs)];
  size_t bytes = affine_gradient_bytes(part);
  for (int i = 0; i < op.outputs; ++i)
    bytes = std::max(bytes, partials_bytes(geometry_of(op.parts, part, s.inputs[size_t(i)])));
  return bytes;
}

LADARTS_CUDA_KERNEL(SumConv2d, sum_conv2d)
LADARTS_CUDA_KERNEL(SumConv2dGrad, sum_conv2d_grad, sum_conv2d_grad_workspace)

}  // namespace
}  // namespace ladarts::cuda
