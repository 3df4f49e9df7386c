#include "nas/relaxation.h"

#include <algorithm>
#include <cmath>

#include <fmt/ranges.h>

#include "core/error.h"
#include "core/philox.h"
#include "nas/encoding.h"
#include "ops/activations.h"
#include "ops/arithmetic.h"
#include "ops/channels.h"
#include "ops/inclusion.h"
#include "ops/rows.h"
#include "ops/softmax.h"
#include "ops/straight_through.h"

namespace ladarts {

namespace {

constexpr int kKeptEdges = 2;
constexpr uint64_t kNoiseStream = uint64_t(1) << 62;  // apart from other uses of the seed

int64_t skipped_primitives(const SearchSpace& space) {
  if (space.edge_rule == EdgeRule::all) return 0;  // none is one of the choices
  const int none = space.primitive_index("none");
  require(none <= 0, "[latency] space '{}' lists none as primitive {}; the relaxed encoding needs it first",
          space.name, none);
  return none == 0 ? 1 : 0;
}

Tensor repeated(Tensor x, int times) {
  return times == 1 ? x : concat_rows(std::vector<Tensor>(size_t(times), x));
}

// One cell type, `rows` times: what its draws and their mean are computed from.
class RelaxedCell {
 public:
  RelaxedCell(const SearchSpace& space, Tensor alpha, Tensor beta, float temperature)
      : space_(space), skipped_(skipped_primitives(space)) {
    const int64_t count = alpha.dim(1) - skipped_;
    const float sharpness = 1 / temperature;
    logits_ = skipped_ > 0 ? slice_columns(alpha, skipped_, count) : alpha;
    if (sharpness != 1) logits_ = scale(logits_, sharpness);
    if (space.edge_rule == EdgeRule::all) return;
    strength_ = row_max(skipped_ > 0 ? slice_columns(softmax(alpha), skipped_, count) : softmax(alpha));
    if (beta) strength_ = mul(strength_, segment_softmax(beta, space.edges_per_node()));
    // s^(1/T) of each node, so scaled that it stays within single precision.
    if (sharpness != 1) strength_ = segment_softmax(scale(log(strength_), sharpness), space.edges_per_node());
  }

  // `draws` copies whose maxima are draws from P.
  RelaxedCell perturbed(int draws, Tensor primitive_noise, Tensor edge_noise) const {
    RelaxedCell cell = *this;
    cell.rows_ = draws;
    const Tensor noise =
        skipped_ > 0 ? slice_columns(primitive_noise, skipped_, logits_.dim(1)) : primitive_noise;
    cell.logits_ = add(repeated(logits_, draws), noise);
    if (strength_) cell.strength_ = mul(repeated(strength_, draws), exp(edge_noise));
    return cell;
  }

  // (rows, edges * primitives)
  Tensor mean() const {
    const Tensor choice = softmax(logits_);
    return strength_ ? encoded(choice, inclusion_probability(strength_, groups(), kKeptEdges))
                     : encoded(choice, {});
  }
  Tensor maximum() const {
    const Tensor choice = keep_largest(logits_, {}, 1);
    return strength_ ? encoded(choice, keep_largest(strength_, groups(), kKeptEdges)) : encoded(choice, {});
  }

 private:
  std::vector<int> groups() const {
    std::vector<int> all;
    for (int r = 0; r < rows_; ++r)
      for (const int n : space_.edges_per_node()) all.push_back(n);
    return all;
  }
  Tensor encoded(Tensor choice, Tensor kept) const {
    Tensor x = kept ? scale_rows(choice, kept) : choice;
    if (skipped_ > 0) x = pad_columns(x, skipped_, 0);
    return reshape(x, Shape{rows_, space_.edges() * int64_t(space_.primitives.size())});
  }

  const SearchSpace& space_;
  int64_t skipped_;
  int rows_ = 1;
  Tensor logits_,
      strength_;  // (rows * edges, choosable primitives), (rows * edges); every edge kept: no strength
};

}  // namespace

const std::vector<std::string>& relaxation_names() {
  static const std::vector<std::string> names = {"expected", "drawn", "gumbel", "derived"};
  return names;
}

const std::string& to_string(RelaxationKind kind) {
  return relaxation_names().at(size_t(kind));
}

RelaxationKind parse_relaxation(const std::string& name) {
  const auto& names = relaxation_names();
  const auto found = std::find(names.begin(), names.end(), name);
  require(found != names.end(), "[search] relaxation '{}' is unknown; use {}", name, fmt::join(names, ", "));
  return RelaxationKind(found - names.begin());
}

RelaxationNoise::RelaxationNoise(const SearchSpace& space, int draws, uint64_t seed, Device device)
    : seed_(seed) {
  require(draws > 0, "[search] {} draws of an architecture; give 1 or more", draws);
  const auto buffer = std::make_shared<Buffer>(device);
  const auto part = [&](Shape shape) {
    return Storage(buffer, buffer->reserve(size_t(shape.elements()) * sizeof(float)), shape);
  };
  for (size_t t = 0; t < space.cell_types.size(); ++t) {
    primitives_.push_back(part(Shape{draws * int64_t(space.edges()), int64_t(space.primitives.size())}));
    edges_.push_back(part(Shape{draws * int64_t(space.edges())}));
  }
  all_ = Storage::all_of(buffer);
  values_.resize(size_t(all_.shape().elements()));
  draw(0);
}

void RelaxationNoise::draw(uint64_t step) {
  Random random(seed_, kNoiseStream + step);
  for (float& v : values_) {
    const double u = (double(random.bits() >> 8) + 0.5) * 0x1p-24;  // in (0, 1)
    v = float(-std::log(-std::log(u)));
  }
  all_.upload(std::span<const float>(values_));
}

Tensor record_relaxation(Graph& graph, const SearchSpace& space, const std::vector<Tensor>& alphas,
                         const std::vector<Tensor>& betas, const Relaxation& relaxation,
                         const RelaxationNoise* noise) {
  const Graph::Scope scope(graph, "encoding");
  require(!relaxation.random() || noise, "[latency] relaxation '{}' needs noise", to_string(relaxation.kind));
  const int points = relaxation.points();
  std::vector<Tensor> soft, hard;
  for (size_t t = 0; t < space.cell_types.size(); ++t) {
    const RelaxedCell cell(space, alphas[t], betas.empty() ? Tensor() : betas[t], relaxation.temperature);
    if (!relaxation.random()) {
      soft.push_back(cell.mean());
      if (relaxation.kind == RelaxationKind::derived) hard.push_back(cell.maximum());
      continue;
    }
    const RelaxedCell draws =
        cell.perturbed(points, graph.leaf(noise->primitives(int(t))), graph.leaf(noise->edges(int(t))));
    hard.push_back(draws.maximum());
    soft.push_back(relaxation.kind == RelaxationKind::gumbel ? draws.mean() : repeated(cell.mean(), points));
  }
  const auto joined = [](const std::vector<Tensor>& cells) {
    return cells.size() == 1 ? cells[0] : concat_channels(cells);
  };
  return hard.empty() ? joined(soft) : straight_through(joined(hard), joined(soft));
}

Tensor record_relaxation(Graph& graph, ArchitectureParameters& architecture, const Relaxation& relaxation,
                         const RelaxationNoise* noise) {
  std::vector<Tensor> alphas, betas;
  for (int t = 0; t < int(architecture.space().cell_types.size()); ++t) {
    alphas.push_back(architecture.record_alpha(graph, t));
    if (architecture.edge_normalisation()) betas.push_back(architecture.record_beta(graph, t));
  }
  return record_relaxation(graph, architecture.space(), alphas, betas, relaxation, noise);
}

}  // namespace ladarts
