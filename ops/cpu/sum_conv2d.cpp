// The gradient of a chunk of images goes image by image: weights' first, which brings terms and d_y into the
// nearer caches, then the sums'.
#include "ops/sum_conv2d.h"

#include <algorithm>
#include <cstring>

#include "ops/channels.h"
#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/conv2d_kernels.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/lane_sums.h"
#include "ops/cpu/parallel.h"
#include "ops/sum_conv2d_plan.h"

namespace ladarts {
namespace {

namespace isa = LADARTS_ISA;

// Where an op's terms lie.
struct SumTerms {
  void* first[kMostParts] = {};
  void* second[kMostParts] = {};
  isa::InputSums x;

  // Writes `coefficients` of coefficient_floats().
  SumTerms(const std::vector<GradientSum>& parts, int64_t channels, const KernelArgs& a, float* coefficients)
      : x{first, second, coefficients} {
    for (size_t p = 0; p < parts.size(); ++p) {
      const GradientSum& terms = parts[p];
      first[p] = a.inputs[terms[0].source];
      if (terms.size() > 1) second[p] = a.inputs[terms[1].source];
      for (int64_t c = 0; c < channels; ++c, coefficients += kSumCoefficients) {
        coefficients[1] = coefficients[2] = 0;
        for (size_t t = 0; t < terms.size(); ++t) {
          const float* const affine = terms[t].factors < 0 ? nullptr : a.in(terms[t].factors);
          coefficients[t] = affine ? affine[c] : 1.f;
          if (affine) coefficients[2] += affine[channels + c];
        }
      }
    }
  }
};

void sum_conv2d(const SumConv2d& op, const KernelArgs& a) {
  const Conv2dGeometry g =
      sum_conv2d_geometry(op.parts, a.in_shape(0), std::span(a.output_shapes, size_t(op.outputs)));
  auto* const coefficients = reinterpret_cast<float*>(a.workspace);
  const SumTerms terms(op.parts, a.in_shape(0)[1], a, coefficients);
  KernelArgs rest = a;
  rest.workspace += size_t(coefficient_floats(g)) * sizeof(float);
  isa::sum_forward(g, int(op.parts.size()), op.outputs, op.weights_at, terms.x, rest);
}

// What all images' gradients have in common.
struct SumGradient {
  const SumConv2dGrad& op;
  const KernelArgs& a;
  const Conv2dGeometry& g;
  const ChannelSums& x;
  const float* w;  // of all outputs below each other

  // The sums' gradients of image n, masked; sums over its pixels to `sums` (channels, kSumCoefficients).
  // Meanwhile d_y of the next image is asked for.
  void of_image(int64_t n, float* scratch, float* lanes, float* sums) const {
    const int64_t pixels = g.pixels(), channels = x.first.channels, parts = int64_t(op.parts.size());
    std::fill_n(lanes, g.c * kSumCoefficients * SumGradPlan::kLanes, 0.f);
    for (int64_t j0 = 0; j0 < pixels; j0 += kPanelColumns) {
      const int64_t columns = std::min(kPanelColumns, pixels - j0);
      for (int64_t k0 = 0; k0 < g.o; k0 += kPanelRows) {
        const int64_t k1 = std::min(k0 + kPanelRows, g.o);
        gather(n, k0, k1, j0, columns, scratch);
        GemmTile t{};
        t.k = k1 - k0;
        t.a_row = 1, t.a_k = g.c;
        t.b = scratch, t.b_row = columns;
        t.c_row = pixels, t.columns = columns;
        t.far = true;
        if (n + 1 < g.n && same_channels())
          t.ahead = {{a.inputs, a.in_shape(0)[1]}, n + 1, k0, k1 - k0, pixels, j0, columns};
        GemmRows rows[kMostParts];
        for (int64_t p = 0; p < parts; ++p) {
          const int64_t c = p * channels;
          float* const to = a.out(op.first_sum() + int(p)) + n * channels * pixels + j0;
          const float* const second = x.second_plane(n, c, pixels);
          rows[p] = {channels, w + k0 * g.c + c, to, nullptr, nullptr, k0 > 0 ? to : nullptr};
          rows[p].sum_mask = {x.first.plane(n, c, pixels) + j0, second ? second + j0 : nullptr,
                              x.of_channel(c), lanes + c * kSumCoefficients * SumGradPlan::kLanes};
        }
        gemm<false, false, true>(rows, int(parts), t);
      }
    }
    add_lanes(lanes, sums);
  }

 private:
  bool same_channels() const {
    for (int i = 1; i < op.outputs; ++i)
      if (a.in_shape(i)[1] != a.in_shape(0)[1]) return false;
    return true;
  }
  // Rows [k0, k1) of d_y of all outputs below each other, columns from j0 on.
  void gather(int64_t n, int64_t k0, int64_t k1, int64_t j0, int64_t columns, float* panel) const {
    for (int64_t i = 0, first = 0; i < op.outputs; first += a.in_shape(int(i++))[1]) {
      const int64_t count = a.in_shape(int(i))[1];
      for (int64_t k = std::max(first, k0); k < std::min(first + count, k1); ++k)
        copy_floats(panel + (k - k0) * columns, a.in(int(i)) + (n * count + k - first) * g.pixels() + j0,
                    columns, false);
    }
  }
  void add_lanes(const float* lanes, float* sums) const {
    constexpr int kTogether = 4;
    const int64_t count = g.c * kSumCoefficients;
    std::fill_n(sums, count, 0.f);
    for (int64_t i = 0; i < count; i += kTogether) {
      const int n = int(std::min<int64_t>(kTogether, count - i));
      Vec<kLanes> of[kTogether] = {};
      for (int k = 0; k < n; ++k) of[k] = load<kLanes>(lanes + (i + k) * SumGradPlan::kLanes);
      add_lane_sums<kLanes>(of, n, sums + i);
    }
  }
};

// d_affine of each wanted term from sums (images, channels of x, kSumCoefficients), in their order and in
// double precision.
void store_affine_gradients(const SumConv2dGrad& op, const KernelArgs& a, int64_t images, int64_t channels,
                            const float* sums) {
  constexpr int64_t kTogether = 16;
  const int64_t row = int64_t(op.parts.size()) * channels * kSumCoefficients;
  for_chunks(*a.pool, channels, kTogether, [&](int64_t begin, int64_t end) {
    for (int part = 0; part < int(op.parts.size()); ++part) {
      double totals[kTogether * kSumCoefficients] = {};
      const float* from = sums + (part * channels + begin) * kSumCoefficients;
      for (int64_t n = 0; n < images; ++n, from += row)
        for (int64_t k = 0; k < (end - begin) * kSumCoefficients; ++k) totals[k] += double(from[k]);
      for (int i = 0; i < int(op.affines.size()); ++i) {
        if (op.affines[size_t(i)].part != part) continue;
        float *scale = a.out(i), *shift = scale + channels;
        const bool add = a.accumulate(i);
        const double* of_channel = totals;
        for (int64_t c = begin; c < end; ++c, of_channel += kSumCoefficients) {
          const auto d_scale = float(of_channel[1 + op.affines[size_t(i)].term]),
                     d_shift = float(of_channel[0]);
          scale[c] = add ? scale[c] + d_scale : d_scale;
          shift[c] = add ? shift[c] + d_shift : d_shift;
        }
      }
    }
  });
}

void sum_conv2d_grad(const SumConv2dGrad& op, const KernelArgs& a) {
  const Shape& part = a.in_shape(2 * op.outputs);
  const int64_t channels = part[1];
  const Conv2dGeometry g = sum_conv2d_geometry(op.parts, part, std::span(a.input_shapes, size_t(op.outputs)));
  const SumGradPlan plan(g);
  auto* const coefficients = reinterpret_cast<float*>(a.workspace);
  float* const weights = coefficients + plan.coefficients;
  float* const scratches = weights + plan.weights;
  float* const sums = scratches + a.pool->threads() * (plan.thread + plan.lanes);
  float* const partials = sums + plan.sums;
  const SumTerms terms(op.parts, channels, a, coefficients);
  const ChannelSums x{{terms.x.first, channels}, {terms.x.second, channels}, coefficients};

  isa::WeightGradient of[kMostParts];
  float* w = weights;
  for (int i = 0; i < op.outputs; ++i) {
    const int64_t outputs = a.in_shape(i)[1];
    std::memcpy(w, a.in(op.outputs + i), size_t(outputs * g.c) * sizeof(float));
    w += outputs * g.c;
    of[i] = {outputs, a.in(i), nullptr, false};
  }
  for (size_t i = 0; i < op.trained.size(); ++i) {
    const int at = int(op.affines.size() + i);
    of[op.trained[i]].d_w = a.out(at), of[op.trained[i]].add = a.accumulate(at);
  }
  const std::span<const isa::WeightGradient> outputs(of, size_t(op.outputs));
  const SumGradient gradient{op, a, g, x, weights};

  const int64_t together = std::max(int64_t{1}, kPanelColumns / g.pixels());  // images
  const Blocks chunks(g.n, (g.n + plan.chunks - 1) / plan.chunks);
  a.pool->parallel_for(chunks.count, [&](int64_t chunk, int thread) {
    float* const scratch = scratches + thread * (plan.thread + plan.lanes);
    float* const partial = partials + chunk * g.weights();
    zero_floats(partial, g.weights());
    const int64_t end = chunks.begin(chunk + 1);
    for (int64_t n0 = chunks.begin(chunk), n1 = 0; n0 < end; n0 = n1) {
      n1 = std::min(n0 + together, end);
      if (!op.trained.empty())
        isa::add_weight_gradient(g, outputs, terms.x, channels, n0, n1 - n0, partial, scratch);
      for (int64_t n = n0; n < n1; ++n)
        gradient.of_image(n, scratch, scratch + plan.thread, sums + n * g.c * kSumCoefficients);
    }
  });
  store_affine_gradients(op, a, g.n, channels, sums);
  if (!op.trained.empty()) isa::store_weight_gradient(g, outputs, chunks.count, partials, *a.pool);
}

LADARTS_CPU_KERNEL(SumConv2d, sum_conv2d)
LADARTS_CPU_KERNEL(SumConv2dGrad, sum_conv2d_grad)

}  // namespace
}  // namespace ladarts
