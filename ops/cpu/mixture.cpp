// A node of a mixed network. Bound by memory: every term is read once, the sum stays in registers over up to
// eight of them, and normalisation, weights and edge weight are one factor for each term and channel. Pools
// of a source are computed as it is read.
#include "ops/mixture.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/lane_sums.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/plane_pools.h"
#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

float edge_weight(const Mixture& op, const KernelArgs& a, size_t edge) {
  return op.has_edge_weights ? a.in(1)[op.first_row + int(edge)] : 1.f;
}
float branch_weight(const Mixture& op, const KernelArgs& a, size_t edge, int column) {
  return a.in(0)[(op.first_row + int64_t(edge)) * a.in_shape(0)[1] + column];
}
// Of an edge that has an identity.
float identity_weight(const Mixture& op, const KernelArgs& a, size_t edge) {
  return edge_weight(op, a, edge) * branch_weight(op, a, edge, op.edges[edge].identity_column);
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
  // fetch: false where the next channel's plane is fetched elsewhere.
  void add(const float* plane, float factor, bool fetch = true) {
    planes_[count_] = plane;
    next_[count_] = fetch ? plane + pixels_ : plane;
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
      if constexpr (V > 1) prefetch(next_[s] + i, V * L);
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
  const float *planes_[kMost], *next_[kMost];
  float factors_[kMost];
};

// Whether a term, or the identity, is added as a plane of its own: the others are made of a source that is
// pooled.
bool is_plane(const Mixture::Edge& edge, const Mixture::Term& t) {
  return t.of == Mixture::Of::value || !edge.pools;
}

// What belongs to a term that is not a plane of its own.
float& part(OfPlane& p, Mixture::Of of) {
  if (of == Mixture::Of::maxima) return p.maxima;
  return of == Mixture::Of::averages ? p.averages : p.identity;
}

// Channel `channel` of image n of the first two planes of their own that an edge adds, of its source where it
// has none.
template <class Plane>
SoonRead soon_read(const Mixture::Edge& edge, Plane plane, int channel) {
  const float* found[2] = {};
  int count = 0;
  for (const Mixture::Term& t : edge.terms)
    if (is_plane(edge, t) && count < 2) found[count++] = plane(t.y, channel);
  if (count == 0) found[0] = plane(edge.terms[0].y, channel);
  return {found[0], count > 1 ? found[1] : found[0]};
}

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
  const MixtureScratch scratch(op, shape);
  const bool has_pools = op.has_pools();
  a.pool->parallel_for(shape[0], [&](int64_t n, int thread) {
    float* out = a.out(0) + n * all * pixels;
    // The sum of averages is the average of a sum, as long as factors hold for a whole plane.
    float* const averaged = factors + op.factor_floats() + thread * scratch.thread_floats();
    std::optional<PlanePools> pools;
    if (has_pools) pools.emplace(shape, averaged + scratch.plane_floats);
    for (int j = 0; j < op.channels; ++j) {
      float* const to = out + int64_t(j) * op.groups * pixels;
      PlaneSum sum(to, pixels, op.groups, constants[j]);
      const float* factor = factors + j;
      for (size_t e = 0; e < op.edges.size(); ++e) {
        const Mixture::Edge& edge = op.edges[e];
        int planes = 0;
        for (const Mixture::Term& t : edge.terms) {
          if (is_plane(edge, t)) sum.add(plane(t.y, n, j), *factor, !edge.pools || planes++ >= 2);
          factor += op.channels;
        }
        if (edge.identity_column >= 0 && !edge.pools)
          sum.add(plane(edge.source, n, j), identity_weight(op, a, e));
      }
      sum.finish();
      if (!pools) continue;
      bool any = false;
      factor = factors + j;
      for (size_t e = 0; e < op.edges.size(); ++e) {
        const Mixture::Edge& edge = op.edges[e];
        OfPlane made;
        const float* source = nullptr;
        for (const Mixture::Term& t : edge.terms) {
          if (!is_plane(edge, t)) {
            source = plane(t.y, n, j);
            part(made, t.of) += *factor;
          }
          factor += op.channels;
        }
        if (!source) continue;
        if (edge.identity_column >= 0) made.identity += identity_weight(op, a, e);
        const auto of_image = [&](int operand, int channel) { return plane(operand, n, channel); };
        pools->add_plane(source, made, to, averaged, std::exchange(any, true),
                         soon_read(edge, of_image, std::min(j + 1, op.channels - 1)));
      }
      if (any) pools->add_averages(averaged, to);
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

// Inner products of small planes with one g, four at a time: their lanes are summed together. Meanwhile
// planes a few channels on are fetched.
class SmallProducts {
 public:
  static constexpr int64_t kMostPixels = 256;
  static bool suit(int64_t pixels) { return pixels <= kMostPixels && pixels % kLanes == 0; }
  SmallProducts(const float* g, int64_t pixels) : g_(g), pixels_(pixels) {}
  ~SmallProducts() {
    if (count_ > 0) flush();
  }
  void add(const float* plane, double* sum) {
    planes_[count_] = plane, sums_[count_] = sum;
    if (++count_ == kMost) flush();
  }

 private:
  static constexpr int kMost = 4;
  static constexpr int64_t kAhead = 512;  // floats

  void flush() {
    Vec<kLanes> products[kMost] = {};
    for (int k = count_; k < kMost; ++k) planes_[k] = planes_[0];
    for (int64_t i = 0; i < pixels_; i += kLanes) {
      const Vec<kLanes> g = load<kLanes>(g_ + i);
      for (int k = 0; k < kMost; ++k) {
        prefetch(planes_[k] + i + kAhead, kLanes);
        products[k] += g * load<kLanes>(planes_[k] + i);
      }
    }
    float found[kMost] = {};
    add_lane_sums<kLanes>(products, kMost, found);
    for (int k = 0; k < count_; ++k) *sums_[k] += double(found[k]);
    count_ = 0;
  }

  const float* g_;
  int64_t pixels_;
  int count_ = 0;
  const float* planes_[kMost];
  double* sums_[kMost];
};

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

// `memory`: a MixtureScratch.
void image_sums(const MixtureGrad& op, const KernelArgs& a, int64_t n, const float* d_out, int64_t pixels,
                Sums to, float* memory) {
  const Mixture& f = op.forward;
  const Shape& shape = a.in_shape(op.d_out);
  const MixtureScratch scratch(f, shape);
  float* const shares = memory;  // a channel of d_out as averages pass it to what they average
  std::optional<PlanePools> pools;
  if (f.has_pools()) pools.emplace(shape, memory + scratch.plane_floats);
  const bool weights = op.branch_out >= 0 || op.edge_out >= 0;
  // A product is computed when those after it are known: meanwhile the last one's plane is fetched. One plane
  // of 4 KiB takes 150 cycles, and memory 400.
  struct Queued {
    const float *g, *plane;
    double* sum;
  } queue[kFetchedAhead];
  int64_t added = 0;
  auto finish = [&](const Queued& p, const float* next) {
    *p.sum += double(dot(p.g, p.plane, pixels, next));
  };
  auto add = [&](const float* g, const float* plane, double* sum) {
    Queued& oldest = queue[added++ % kFetchedAhead];
    if (added > kFetchedAhead) finish(oldest, plane);
    oldest = {g, plane, sum};
  };
  auto plane_of = [&](int operand, int channel) {
    return a.in(operand) + (n * a.in_shape(operand)[1] + channel) * pixels;
  };
  for (int j = 0; j < f.channels; ++j) {
    const float* g = d_out + int64_t(j) * f.groups * pixels;
    to.ones[j] += double(plane_total(g, pixels));
    if (pools) pools->averages_gradient(g, shares);
    double* sum = to.terms + j;
    const bool small = SmallProducts::suit(pixels);
    SmallProducts together(g, pixels);
    for (size_t e = 0; e < f.edges.size(); ++e) {
      const Mixture::Edge& edge = f.edges[e];
      OfPlane products;
      bool known = false;
      auto of_source = [&](int operand) -> OfPlane& {
        if (!std::exchange(known, true)) products = pools->products(plane_of(operand, j), g, shares);
        return products;
      };
      for (size_t t = 0; t < edge.terms.size(); ++t, sum += f.channels) {
        if (!weights && op.edges[e].affine_out[t] < 0) continue;
        const Mixture::Term& term = edge.terms[t];
        if (is_plane(edge, term)) {
          small ? together.add(plane_of(term.y, j), sum) : add(g, plane_of(term.y, j), sum);
        } else {
          *sum += double(part(of_source(term.y), term.of));
        }
      }
      if (!weights || edge.identity_column < 0) continue;
      double* const identity = to.identities + int64_t(e) * f.channels + j;
      if (edge.pools) {
        *identity += double(of_source(edge.source).identity);
      } else {
        add(g, plane_of(edge.source, j), identity);
      }
    }
  }
  if (op.edge_out >= 0)
    for (int m = 0; m < f.channels * (f.groups - 1); ++m)
      for (size_t e = 0; e < f.edges.size(); ++e)
        add(d_out + int64_t(bypass_channel(f, m)) * pixels,
            plane_of(f.edges[e].source, f.edges[e].bypass_begin + m), to.bypasses + e);
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
  const int64_t scratch = MixtureScratch(f, shape).thread_floats();  // a multiple of 16
  float* const memory = reinterpret_cast<float*>(a.workspace);
  double* const sums = reinterpret_cast<double*>(memory + a.pool->threads() * scratch);
  term_factors(f, a, a.out(op.factors_out), nullptr);
  bool wants_sums = op.branch_out >= 0 || op.edge_out >= 0;
  for (const MixtureGrad::Edge& e : op.edges)
    for (int out : e.affine_out) wants_sums = wants_sums || out >= 0;

  a.pool->parallel_for(chunks, [&](int64_t chunk, int thread) {
    double* at = sums + chunk * count;
    for (int64_t i = 0; i < count; ++i) at[i] = 0;
    for (int64_t n = chunk * images / chunks; n < (chunk + 1) * images / chunks; ++n) {
      const float* d_out = a.in(op.d_out) + n * shape[1] * pixels;
      if (wants_sums) image_sums(op, a, n, d_out, pixels, Sums(f, at), memory + thread * scratch);
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
