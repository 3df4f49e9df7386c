#include "cuda/mixture.cuh"

#include <algorithm>

#include "cuda/kernel.h"
#include "ops/mixture.h"

namespace ladarts::cuda {
namespace {

MixtureOperands operands_of(const Mixture& op, const KernelArgs& a, const Shape& out) {
  if (op.n_terms() > kMixtureTerms || op.edges.size() > size_t(kMixtureEdges))
    throw Error(
        "[mixture] the CUDA kernel takes up to 64 branches on 16 edges of a node; use --device cpu for more");
  MixtureOperands m{};
  m.branch_weights = a.in(0);
  m.edge_weights = op.has_edge_weights ? a.in(1) : nullptr;
  m.first_row = op.first_row;
  m.columns = int(a.in_shape(0)[1]);
  m.channels = uint32_t(op.channels);
  m.groups = uint32_t(op.groups);
  m.pixels = size32(out[2] * out[3]);
  m.height = int(out[2]);
  m.width = int(out[3]);
  size32(out.elements());
  for (const Mixture::Edge& e : op.edges) {
    EdgeOperand& edge = m.edge[m.edges];
    edge.first_term = m.terms;
    for (const Mixture::Term& t : e.terms)
      m.term[m.terms++] = {{a.in(t.y), size32(a.in_shape(t.y)[1]), t.of},
                           t.affine >= 0 ? a.in(t.affine) : nullptr,
                           m.edges,
                           t.column};
    edge.end_term = m.terms;
    edge.source = e.source >= 0 ? a.in(e.source) : nullptr;
    edge.source_channels = e.source >= 0 ? size32(a.in_shape(e.source)[1]) : 0;
    edge.bypass_begin = uint32_t(e.bypass_begin);
    edge.identity_column = e.identity_column;
    ++m.edges;
  }
  return m;
}

void mixture_forward(const Mixture& op, const KernelArgs& a) {
  const Shape& out = a.out_shape(0);
  const MixtureOperands m = operands_of(op, a, out);
  float* const factors = reinterpret_cast<float*>(a.workspace);
  float* const constants = factors + int64_t(m.terms) * op.channels;
  for_each(TermFactors{m, factors}, int64_t(m.terms) * op.channels, a.stream);
  for_each(TermConstants{m, constants}, op.channels, a.stream);
  elementwise(MixtureSum{m, factors, constants}, a.out(0), out.elements(), false, a.stream);
}
size_t forward_workspace(const Mixture& op, const NodeShapes&) {
  return size_t(op.n_terms() + 1) * size_t(op.channels) * sizeof(float);
}

// Which inner products a gradient needs: of all terms, of ones, of the identities, of the bypasses, in this
// order.
struct Products {
  int64_t terms, edges, bypasses;
  int64_t count() const { return terms + 1 + edges + bypasses; }
  explicit Products(const Mixture& op)
      : terms(op.n_terms()),
        edges(int64_t(op.edges.size())),
        bypasses(int64_t(op.edges.size()) * (op.groups - 1)) {}
};

// By shape alone: about 4096 elements each, 64 at most.
struct ImageChunks {
  int64_t images, count;
  explicit ImageChunks(const Shape& d_out)
      : images(std::max({int64_t{1}, 4096 / (d_out[2] * d_out[3]), (d_out[0] + 63) / 64})),
        count((d_out[0] + images - 1) / images) {}
};

std::vector<InnerProduct> products_of(const Mixture& op, const MixtureOperands& m) {
  constexpr TermPlanes ones{nullptr, 0, Mixture::Of::value};
  auto source_of = [](const EdgeOperand& e) {
    return TermPlanes{e.source, e.source_channels, Mixture::Of::identity};
  };
  std::vector<InnerProduct> jobs;
  for (int t = 0; t < m.terms; ++t) jobs.push_back({m.term[t].planes, 0, 0});
  jobs.push_back({ones, 0, 0});
  // Edges without identity or source take part with ones, whose products nobody reads.
  for (int e = 0; e < m.edges; ++e)
    jobs.push_back({m.edge[e].identity_column >= 0 ? source_of(m.edge[e]) : ones, 0, 0});
  for (int e = 0; e < m.edges; ++e)
    for (uint32_t g = 1; g < m.groups; ++g)
      jobs.push_back({source_of(m.edge[e]), m.edge[e].bypass_begin + (g - 1) * m.channels, g});
  LADARTS_CHECK(int64_t(jobs.size()) == Products(op).count());
  return jobs;
}

// totals (products, c).
void inner_products(const Mixture& op, const MixtureOperands& m, const float* d_out, const Shape& shape,
                    double* partials, double* totals, void* stream) {
  const std::vector<InnerProduct> jobs = products_of(op, m);
  const ImageChunks chunks(shape);
  for (size_t first = 0; first < jobs.size(); first += kInnerProducts) {
    InnerProducts some{};
    for (; some.count < kInnerProducts && first + size_t(some.count) < jobs.size(); ++some.count)
      some.job[some.count] = jobs[first + size_t(some.count)];
    simt::launch(inner_products_kernel, dim3(unsigned(chunks.count), m.channels, unsigned(some.count)),
                 dim3(kReduceThreads), kReduceThreads * sizeof(double), stream, some, d_out, size32(shape[0]),
                 m.channels, m.groups, m.height, m.width, size32(chunks.images),
                 partials + int64_t(first) * m.channels * chunks.count);
  }
  for_each(SumOfProducts{partials, totals, chunks.count}, int64_t(jobs.size()) * m.channels, stream);
}

struct Zero {
  __device__ float operator()(int64_t) const { return 0.f; }
};
void clear(const KernelArgs& a, int output) {
  if (output >= 0 && !a.accumulate(output))
    elementwise(Zero{}, a.out(output), a.out_shape(output).elements(), false, a.stream);
}

void weight_gradients(const MixtureGrad& op, const KernelArgs& a, const MixtureOperands& m) {
  const Mixture& f = op.forward;
  const Shape& shape = a.in_shape(op.d_out);
  const Products p(f);
  double* const totals = reinterpret_cast<double*>(a.workspace);
  inner_products(f, m, a.in(op.d_out), shape, totals + p.count() * f.channels, totals, a.stream);
  const double* const ones = totals + p.terms * f.channels;
  const double* const identities = ones + f.channels;
  if (op.branch_out >= 0 || op.edge_out >= 0) {
    clear(a, op.branch_out);
    clear(a, op.edge_out);
    for_each(WeightGradients{m, totals, ones, identities, identities + p.edges * f.channels,
                             op.branch_out >= 0 ? a.out(op.branch_out) : nullptr,
                             op.edge_out >= 0 ? a.out(op.edge_out) : nullptr},
             m.edges, a.stream);
  }
  int at = 0;
  for (size_t e = 0; e < f.edges.size(); ++e)
    for (size_t t = 0; t < f.edges[e].terms.size(); ++t, ++at) {
      const int out = op.edges[e].affine_out[t];
      if (out < 0) continue;
      const int64_t row = f.first_row + int64_t(e);
      for_each(
          AffineGradient{m.branch_weights, m.edge_weights, row * m.columns + f.edges[e].terms[t].column, row,
                         totals + int64_t(at) * f.channels, ones, m.channels, a.out(out), a.accumulate(out)},
          f.channels, a.stream);
    }
}

void mixture_backward(const MixtureGrad& op, const KernelArgs& a) {
  const Mixture& f = op.forward;
  const MixtureOperands m = operands_of(f, a, a.in_shape(op.d_out));
  for_each(TermFactors{m, a.out(op.factors_out)}, int64_t(m.terms) * f.channels, a.stream);
  bool wants_sums = op.branch_out >= 0 || op.edge_out >= 0;
  for (const MixtureGrad::Edge& e : op.edges)
    for (int out : e.affine_out) wants_sums = wants_sums || out >= 0;
  if (wants_sums) weight_gradients(op, a, m);
  for (size_t e = 0; e < f.edges.size(); ++e) {
    const int out = op.edges[e].source_out;
    if (out < 0) continue;
    const int64_t row = f.first_row + int64_t(e);
    const int column = f.edges[e].identity_column;
    elementwise(SourceGradient{a.in(op.d_out), m.branch_weights, m.edge_weights,
                               column >= 0 ? row * m.columns + column : -1, row, m.edge[e].source_channels,
                               m.channels, m.groups, m.pixels, m.edge[e].bypass_begin},
                a.out(out), size32(a.out_shape(out).elements()), a.accumulate(out), a.stream);
  }
}
// Totals, then the partial sums of all chunks.
size_t backward_workspace(const MixtureGrad& op, const NodeShapes& s) {
  const int64_t products = Products(op.forward).count() * op.forward.channels;
  return size_t(products * (1 + ImageChunks(s.inputs[size_t(op.d_out)]).count)) * sizeof(double);
}

LADARTS_CUDA_KERNEL(Mixture, mixture_forward, forward_workspace)
LADARTS_CUDA_KERNEL(MixtureGrad, mixture_backward, backward_workspace)

}  // namespace
}  // namespace ladarts::cuda
