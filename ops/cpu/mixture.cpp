// A node of a mixed network. Bound by memory: every term is read once, the sum stays in registers over up to
// eight of them, and normalisation, weights and edge weight are one factor for each term and channel.
#include "ops/mixture.h"

#include <algorithm>

#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

float edge_weight(const Mixture& op, const KernelArgs& a, size_t edge) {
  return op.has_edge_weights ? a.in(1)[op.first_row + int(edge)] : 1.f;
}
float branch_weight(const Mixture& op, const KernelArgs& a, size_t edge, int column) {
  return a.in(0)[(op.first_row + int64_t(edge)) * a.in_shape(0)[1] + column];
}
// Where channel m of a bypass goes.
int bypass_channel(const Mixture& op, int m) {
  return m % op.channels * op.groups + 1 + m / op.channels;
}

// factors (terms, c): b_e * a * scale; constants (c): the sum of b_e * a * shift.
void term_factors(const Mixture& op, const KernelArgs& a, float* factors, float* constants) {
  for (int j = 0; constants && j < op.channels; ++j) constants[j] = 0;
  for (size_t e = 0; e < op.edges.size(); ++e)
    for (const Mixture::Term& t : op.edges[e].terms) {
      const float w = edge_weight(op, a, e) * branch_weight(op, a, e, t.column);
      const float* affine = t.affine >= 0 ? a.in(t.affine) : nullptr;
      for (int j = 0; j < op.channels; ++j) {
        factors[j] = affine ? w * affine[j] : w;
        if (affine && constants) constants[j] += w * affine[op.channels + j];
      }
      factors += op.channels;
    }
}

// A sum of planes, each times its factor, gathered and then written in one go. Meanwhile those of the next
// channel are asked for, whose sum goes `step` planes further.
class PlaneSum {
 public:
  PlaneSum(float* to, int64_t pixels, int step, float constant)
      : to_(to), pixels_(pixels), step_(step), constant_(constant) {}
  void add(const float* plane, float factor) {
    planes_[count_] = plane;
    factors_[count_] = factor;
    if (++count_ == kMost) flush();
  }
  void finish() {
    if (count_ || !written_) flush();
  }

 private:
  static constexpr int kMost = 8;

  template <int L, int V>
  void block(int64_t i) {
    Vec<L> sum[V];
    for (int k = 0; k < V; ++k) sum[k] = written_ ? load<L>(to_ + i + k * L) : Vec<L>{} + constant_;
    for (int s = 0; s < count_; ++s) {
      if constexpr (V > 1) prefetch(planes_[s] + pixels_ + i, V * L);
      for (int k = 0; k < V; ++k) sum[k] += load<L>(planes_[s] + i + k * L) * factors_[s];
    }
    if constexpr (V > 1) prefetch(to_ + step_ * pixels_ + i, V * L);
    for (int k = 0; k < V; ++k) store<L>(to_ + i + k * L, sum[k]);
  }
  void flush() {
    int64_t i = 0;
    for (; i + 4 * kLanes <= pixels_; i += 4 * kLanes) block<kLanes, 4>(i);
    for (; i + 4 <= pixels_; i += 4) block<4, 1>(i);
    for (; i < pixels_; ++i) {
      float sum = written_ ? to_[i] : constant_;
      for (int s = 0; s < count_; ++s) sum += planes_[s][i] * factors_[s];
      to_[i] = sum;
    }
    written_ = true;
    count_ = 0;
  }

  float* to_;
  int64_t pixels_, step_;
  float constant_;
  bool written_ = false;
  int count_ = 0;
  const float* planes_[kMost];
  float factors_[kMost];
};

void mixture_kernel(const Mixture& op, const KernelArgs& a) {
  const Shape& shape = a.out_shape(0);
  const int64_t pixels = shape[2] * shape[3];
  const int all = int(shape[1]);
  float* factors = reinterpret_cast<float*>(a.workspace);
  float* constants = factors + op.n_terms() * op.channels;
  term_factors(op, a, factors, constants);
  auto plane = [&](int operand, int64_t n, int channel) {
    return a.in(operand) + (n * a.in_shape(operand)[1] + channel) * pixels;
  };
  a.pool->parallel_for(shape[0], [&](int64_t n, int) {
    float* out = a.out(0) + n * all * pixels;
    for (int j = 0; j < op.channels; ++j) {
      PlaneSum sum(out + int64_t(j) * op.groups * pixels, pixels, op.groups, constants[j]);
      const float* factor = factors + j;
      for (size_t e = 0; e < op.edges.size(); ++e) {
        const Mixture::Edge& edge = op.edges[e];
        for (const Mixture::Term& t : edge.terms) {
          sum.add(plane(t.y, n, j), *factor);
          factor += op.channels;
        }
        if (edge.identity_column >= 0)
          sum.add(plane(edge.source, n, j),
                  edge_weight(op, a, e) * branch_weight(op, a, e, edge.identity_column));
      }
      sum.finish();
    }
    for (int m = 0; m < all - op.channels; ++m) {
      PlaneSum sum(out + int64_t(bypass_channel(op, m)) * pixels, pixels, op.groups, 0.f);
      for (size_t e = 0; e < op.edges.size(); ++e)
        sum.add(plane(op.edges[e].source, n, op.edges[e].bypass_begin + m), edge_weight(op, a, e));
      sum.finish();
    }
  });
}

constexpr int kFetchedAhead = 4;  // planes

// Meanwhile fetches n floats at `next`, which is read after this: planes lie apart, where nothing else does.
float dot(const float* x, const float* y, int64_t n, const float* next) {
  constexpr int L = kLanes;
  Vec<L> a = {}, b = {}, c = {}, d = {};
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    prefetch(next + i, 4 * L);
    a += load<L>(x + i) * load<L>(y + i);
    b += load<L>(x + i + L) * load<L>(y + i + L);
    c += load<L>(x + i + 2 * L) * load<L>(y + i + 2 * L);
    d += load<L>(x + i + 3 * L) * load<L>(y + i + 3 * L);
  }
  float sum = sum_lanes<L>((a + b) + (c + d));
  for (; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

float plane_total(const float* x, int64_t n) {
  constexpr int L = kLanes;
  Vec<L> a = {}, b = {};
  int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    a += load<L>(x + i);
    b += load<L>(x + i + L);
  }
  float sum = sum_lanes<L>(a + b);
  for (; i < n; ++i) sum += x[i];
  return sum;
}

// to (+)= factor * g. Planes of a source follow each other, so what comes next is fetched meanwhile.
template <bool add>
void scale_plane(const float* g, float factor, float* to, int64_t n) {
  constexpr int L = kLanes;
  constexpr int64_t kAhead = 1024;
  int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    prefetch(to + i + kAhead, 2 * L);
    for (int k = 0; k < 2 * L; k += L) {
      const Vec<L> v = load<L>(g + i + k) * factor;
      store<L>(to + i + k, add ? load<L>(to + i + k) + v : v);
    }
  }
  for (; i < n; ++i) to[i] = (add ? to[i] : 0.f) + factor * g[i];
}

// Inner products with d_out, in one block: of each term and channel; of 1 and each channel; of each identity
// and channel; of each bypass.
struct Sums {
  double* terms;
  double* ones;
  double* identities;
  double* bypasses;

  Sums(const Mixture& op, double* at) : terms(at) {
    ones = terms + op.n_terms() * op.channels;
    identities = ones + op.channels;
    bypasses = identities + int64_t(op.edges.size()) * op.channels;
  }
};

void image_sums(const MixtureGrad& op, const KernelArgs& a, int64_t n, const float* d_out, int64_t pixels,
                Sums to) {
  const Mixture& f = op.forward;
  const bool weights = op.branch_out >= 0 || op.edge_out >= 0;
  // A product is computed when those after it are known: meanwhile the last one's plane is fetched. One plane
  // of 4 KiB takes 150 cycles, and memory 400.
  struct Product {
    const float *g, *plane;
    double* sum;
  } queue[kFetchedAhead];
  int64_t added = 0;
  auto finish = [&](const Product& p, const float* next) {
    *p.sum += double(dot(p.g, p.plane, pixels, next));
  };
  auto add = [&](const float* g, int operand, int channel, double* sum) {
    const float* plane = a.in(operand) + (n * a.in_shape(operand)[1] + channel) * pixels;
    Product& oldest = queue[added++ % kFetchedAhead];
    if (added > kFetchedAhead) finish(oldest, plane);
    oldest = {g, plane, sum};
  };
  for (int j = 0; j < f.channels; ++j) {
    const float* g = d_out + int64_t(j) * f.groups * pixels;
    to.ones[j] += double(plane_total(g, pixels));
    double* sum = to.terms + j;
    for (size_t e = 0; e < f.edges.size(); ++e) {
      for (size_t t = 0; t < f.edges[e].terms.size(); ++t, sum += f.channels)
        if (weights || op.edges[e].affine_out[t] >= 0) add(g, f.edges[e].terms[t].y, j, sum);
      if (weights && f.edges[e].identity_column >= 0)
        add(g, f.edges[e].source, j, to.identities + int64_t(e) * f.channels + j);
    }
  }
  if (op.edge_out >= 0)
    for (int m = 0; m < f.channels * (f.groups - 1); ++m)
      for (size_t e = 0; e < f.edges.size(); ++e)
        add(d_out + int64_t(bypass_channel(f, m)) * pixels, f.edges[e].source, f.edges[e].bypass_begin + m,
            to.bypasses + e);
  for (int64_t i = std::max<int64_t>(0, added - kFetchedAhead); i < added; ++i)
    finish(queue[i % kFetchedAhead], queue[i % kFetchedAhead].plane);
}

void source_gradients(const MixtureGrad& op, const KernelArgs& a, int64_t n, const float* d_out,
                      int64_t pixels) {
  const Mixture& f = op.forward;
  for (size_t e = 0; e < f.edges.size(); ++e) {
    const int out = op.edges[e].source_out;
    if (out < 0) continue;
    const Mixture::Edge& edge = f.edges[e];
    const float weight = edge_weight(f, a, e);
    const bool add = a.accumulate(out);
    const auto scale = add ? scale_plane<true> : scale_plane<false>;
    float* d_x = a.out(out) + n * a.out_shape(out)[1] * pixels;
    const float identity =
        edge.identity_column >= 0 ? weight * branch_weight(f, a, e, edge.identity_column) : 0.f;
    for (int j = 0; j < edge.bypass_begin; ++j)
      if (identity != 0.f || !add)
        scale(d_out + int64_t(j) * f.groups * pixels, identity, d_x + j * pixels, pixels);
    for (int m = 0; m < f.channels * (f.groups - 1); ++m)
      scale(d_out + int64_t(bypass_channel(f, m)) * pixels, weight, d_x + (edge.bypass_begin + m) * pixels,
            pixels);
  }
}

void clear_weight_gradients(const MixtureGrad& op, const KernelArgs& a) {
  for (int out : {op.branch_out, op.edge_out})
    if (out >= 0 && !a.accumulate(out))
      for (int64_t i = 0; i < a.out_shape(out).elements(); ++i) a.out(out)[i] = 0;
}

void finish_gradients(const MixtureGrad& op, const KernelArgs& a, Sums s) {
  const Mixture& f = op.forward;
  clear_weight_gradients(op, a);
  const double* term = s.terms;
  for (size_t e = 0; e < f.edges.size(); ++e) {
    const double b = edge_weight(f, a, e);
    const int64_t row = f.first_row + int64_t(e);
    double d_edge = s.bypasses[e];
    auto add_branch = [&](int column, double inner) {
      if (op.branch_out >= 0) a.out(op.branch_out)[row * a.in_shape(0)[1] + column] += float(b * inner);
      d_edge += double(branch_weight(f, a, e, column)) * inner;
    };
    for (size_t t = 0; t < f.edges[e].terms.size(); ++t, term += f.channels) {
      const Mixture::Term& spec = f.edges[e].terms[t];
      const float* affine = spec.affine >= 0 ? a.in(spec.affine) : nullptr;
      const double w = b * double(branch_weight(f, a, e, spec.column));
      const int out = op.edges[e].affine_out[t];
      double inner = 0;
      for (int j = 0; j < f.channels; ++j) {
        inner += affine ? double(affine[j]) * term[j] + double(affine[f.channels + j]) * s.ones[j] : term[j];
        if (out < 0) continue;
        float* d = a.out(out) + j;
        d[0] = float(w * term[j]) + (a.accumulate(out) ? d[0] : 0.f);
        d[f.channels] = float(w * s.ones[j]) + (a.accumulate(out) ? d[f.channels] : 0.f);
      }
      add_branch(spec.column, inner);
    }
    if (f.edges[e].identity_column >= 0) {
      double inner = 0;
      for (int j = 0; j < f.channels; ++j) inner += s.identities[int64_t(e) * f.channels + j];
      add_branch(f.edges[e].identity_column, inner);
    }
    if (op.edge_out >= 0) a.out(op.edge_out)[row] += float(d_edge);
  }
}

void mixture_grad_kernel(const MixtureGrad& op, const KernelArgs& a) {
  const Mixture& f = op.forward;
  const Shape& shape = a.in_shape(op.d_out);
  const int64_t pixels = shape[2] * shape[3], images = shape[0];
  const int64_t chunks = MixtureGrad::chunks(images), count = op.sums();
  double* const sums = reinterpret_cast<double*>(a.workspace);
  term_factors(f, a, a.out(op.factors_out), nullptr);
  bool wants_sums = op.branch_out >= 0 || op.edge_out >= 0;
  for (const MixtureGrad::Edge& e : op.edges)
    for (int out : e.affine_out) wants_sums = wants_sums || out >= 0;

  a.pool->parallel_for(chunks, [&](int64_t chunk, int) {
    double* at = sums + chunk * count;
    for (int64_t i = 0; i < count; ++i) at[i] = 0;
    for (int64_t n = chunk * images / chunks; n < (chunk + 1) * images / chunks; ++n) {
      const float* d_out = a.in(op.d_out) + n * shape[1] * pixels;
      if (wants_sums) image_sums(op, a, n, d_out, pixels, Sums(f, at));
      source_gradients(op, a, n, d_out, pixels);
    }
  });
  if (!wants_sums) return;
  for (int64_t chunk = 1; chunk < chunks; ++chunk)
    for (int64_t i = 0; i < count; ++i) sums[i] += sums[chunk * count + i];
  finish_gradients(op, a, Sums(f, sums));
}

LADARTS_CPU_KERNEL(Mixture, mixture_kernel)
LADARTS_CPU_KERNEL(MixtureGrad, mixture_grad_kernel)

}  // namespace
}  // namespace ladarts
