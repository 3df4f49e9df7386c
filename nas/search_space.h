// A search space as data: what a cell may look like and how cells make a network. Presets "darts" and
// "nasbench201" are JSON texts built in; a user's own is read from a file of the same form.
//
// A cell has `inputs` input states and `nodes` nodes. Node j may read every earlier state: the inputs
// 0 .. inputs-1 and the nodes before it, which are states inputs .. inputs+j-1. Edges are numbered node by
// node, by source within a node; alpha's rows and the encoding follow this numbering.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nas/primitives.h"

namespace ladarts {

// Which edges a genotype has: the two strongest into each node, or all of them.
enum class EdgeRule : uint8_t { darts, all };

enum class SkeletonKind : uint8_t {
  // Each cell reads the outputs of the two cells before it and returns its nodes concatenated. At the given
  // fractions of the depth sits a reduction cell: half the size, twice the channels.
  darts,
  // Stages of equal cells; between stages a residual block halves the size and doubles the channels. A cell
  // reads the one before it and returns its last node.
  residual_stages,
};

struct Fraction {
  int numerator = 0, denominator = 1;
  bool operator==(const Fraction&) const = default;
};

struct Skeleton {
  SkeletonKind kind = SkeletonKind::darts;
  std::vector<Fraction> reduce_at;  // darts: a reduction cell at floor(layers * fraction)
  int stages = 3;                   // residual_stages
  int layers = 20;                  // default depth: cells (darts), cells of each stage (residual_stages)
  int channels = 36;                // default width: of the first cells
  bool operator==(const Skeleton&) const = default;
};

struct Edge {
  int node;    // 0 .. nodes-1
  int source;  // state: 0 .. inputs+node-1
};

struct SearchSpace {
  std::string name;
  std::vector<std::string> cell_types;  // {"normal", "reduce"}; one type serves every position
  int inputs = 2;
  int nodes = 4;
  EdgeRule edge_rule = EdgeRule::darts;
  std::vector<std::string> primitives;
  Skeleton skeleton;

  bool operator==(const SearchSpace&) const = default;

  int edges() const;  // of one cell
  int edge_index(int node, int source) const;
  Edge edge(int index) const;
  std::vector<int> edges_per_node() const;      // {2, 3, 4, 5}
  int kept_edges(int node) const;               // incoming edges of a genotype's node
  int primitive_index(std::string_view) const;  // -1 where the space does not offer it
  int cell_type_of(bool reduction) const;       // index into cell_types

  // How many genotypes there are, exact below 2^53. Where only two edges per node are kept, `none` is not
  // counted: an edge left out plays its part.
  double cells_of_each_type() const;
  double architectures() const;
  // Primitives that a random or derived genotype may use: all, or all but `none` (see above).
  std::vector<int> choosable_primitives() const;

  static const std::vector<std::string>& preset_names();
  static bool is_preset(std::string_view name);
  // A preset by name, or a JSON file by path. Throws Error that names the file and the field at fault.
  static SearchSpace load(const std::string& name_or_path);
  // `origin` names the text in messages.
  static SearchSpace from_json(const std::string& text, const std::string& origin);
  std::string to_json() const;
  // What tells it from every other space: a preset's name; of a user's own the name and a fingerprint.
  std::string id() const;
};

}  // namespace ladarts
