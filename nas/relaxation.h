// What an architecture that is not decided yet looks like to a predictor, which was fitted on decided ones:
// points of the encoding (nas/encoding.h) and the gradient's way from them back to alpha and beta.
//
// Alpha and beta are read as a distribution P over architectures, drawn instead of maximised (nas/derive.h):
//   p(o | e) = softmax of alpha_e over the primitives other than none,
//   s_e      = max_o softmax(alpha_e)_o (o other than none), times beta_e normalised within its node where it
//              exists: each node draws two edges without replacement in proportion to s,
// and where a space keeps every edge (NAS-Bench-201) each draws from softmax(alpha_e), none among them.
//
// A temperature T other than 1 sharpens (below 1) or flattens P: chances are in proportion to p^(1/T) and
// s^(1/T). As T goes to 0 what is drawn becomes what is derived.
//
// The relaxed encoding is P's mean: x_eo = q_e p(o | e) with q_e the probability that e is drawn. Each node's
// features sum to two, as those of every discrete cell do, and they become the discrete ones as the
// parameters part.
#pragma once

#include <string>
#include <vector>

#include "nas/supernet.h"

namespace ladarts {

enum class RelaxationKind : uint8_t {
  expected,  // the mean of P, one point
  // Decided architectures drawn from P at each step, by Gumbel-max for primitives and Gumbel-top-2 for edges.
  // The gradient is taken there and goes back ...
  drawn,    // ... through the mean of P
  gumbel,   // ... through the relaxed encoding of the perturbed alpha and beta: straight-through
            // Gumbel-softmax (Jang, Gu and Poole, 2017)
  derived,  // The architecture that would be derived; the gradient goes back through the mean of P.
};

inline constexpr int kMostDraws = 256;
// Chances of what is not derived stay above single precision's end.
inline constexpr float kLeastTemperature = 0.05f;

struct Relaxation {
  RelaxationKind kind = RelaxationKind::expected;
  int draws = 1;  // architectures a step, of drawn and gumbel
  float temperature = 1;

  bool random() const { return kind == RelaxationKind::drawn || kind == RelaxationKind::gumbel; }
  int points() const { return random() ? draws : 1; }
};

const std::vector<std::string>& relaxation_names();  // in the enum's order
const std::string& to_string(RelaxationKind kind);
RelaxationKind parse_relaxation(const std::string& name);  // throws Error

// The perturbations of a step's draws, in memory that its programs read. They depend on (seed, step) alone.
class RelaxationNoise {
 public:
  RelaxationNoise(const SearchSpace& space, int draws, uint64_t seed, Device device = {});
  void draw(uint64_t step);
  // (draws * edges, primitives) and (draws * edges)
  const Storage& primitives(int cell_type) const { return primitives_.at(size_t(cell_type)); }
  const Storage& edges(int cell_type) const { return edges_.at(size_t(cell_type)); }

 private:
  uint64_t seed_;
  std::vector<Storage> primitives_, edges_;
  Storage all_;
  std::vector<float> values_;
};

// alphas[t] (edges, primitives) and, with edge normalisation, betas[t] (edges), of each cell type, before any
// softmax -> (points, encoding_size(space)). Throws Error for a space in which `none` is not the first
// primitive, and for random points without noise.
Tensor record_relaxation(Graph& graph, const SearchSpace& space, const std::vector<Tensor>& alphas,
                         const std::vector<Tensor>& betas, const Relaxation& relaxation = {},
                         const RelaxationNoise* noise = nullptr);
Tensor record_relaxation(Graph& graph, ArchitectureParameters& architecture,
                         const Relaxation& relaxation = {}, const RelaxationNoise* noise = nullptr);

}  // namespace ladarts
