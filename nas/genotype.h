// A genotype: one architecture of a search space, as the operation and source of each kept edge.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nas/search_space.h"

namespace ladarts {

struct GenotypeEdge {
  std::string primitive;
  int source = 0;  // state index
  bool operator==(const GenotypeEdge&) const = default;
};

struct CellGenotype {
  std::string type;                              // "normal"
  std::vector<std::vector<GenotypeEdge>> nodes;  // [node][incoming edge], in the order as written
  bool operator==(const CellGenotype&) const = default;
};

struct Genotype {
  std::string space;  // name of its search space
  int inputs = 2;     // input states of a cell
  std::vector<CellGenotype> cells;
  bool operator==(const Genotype&) const = default;

  // The same for any order of writing the edges of a node, and different for genotypes that differ otherwise.
  std::string key() const;
  // With each node's edges ordered by source.
  Genotype canonical() const;
};

// Throws Error that names the first thing that does not belong to `space`.
void validate(const Genotype& genotype, const SearchSpace& space);

// Whether something of the inputs arrives at the output of every cell, over operations other than none. Where
// it does not, as spaces with `none` allow, the network says the same of every image.
bool reaches_output(const Genotype& genotype, const SearchSpace& space);

// Forms of text. The field's form for spaces with concatenated cells,
//   Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), reduce=[...], ...)
// and NAS-Bench-201's for the others, |op~0|+|op~0|op~1|+...
std::string to_text(const Genotype& genotype, const SearchSpace& space);
std::string to_json(const Genotype& genotype);

// A preset's name ("PC_DARTS_cifar"), a text in either form or in JSON, or the path of a file that holds one.
// The result is valid in `space`.
Genotype parse_genotype(const std::string& what, const SearchSpace& space);
// As above where the space is one of the presets, told by the text itself.
Genotype parse_genotype(const std::string& what);

// DARTS_V1, DARTS_V2, PC_DARTS_cifar, PC_DARTS_image: the published cells, of space "darts".
const std::vector<std::string>& genotype_preset_names();

}  // namespace ladarts
