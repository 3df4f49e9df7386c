// The gap of soft input: what a search's latency term said at each epoch, against the measured cost of the
// architecture that would have been derived then. The predictor was fitted on decided architectures, the term
// asks it about one that is not decided yet (nas/relaxation.h).
#pragma once

#include <string>
#include <vector>

#include "core/json_file.h"
#include "nas/genotype.h"
#include "predictor/predictor_file.h"

namespace ladarts {

class SearchGap {
 public:
  // Folders of ladarts search. Throws Error for one that is none, or whose search had no predictor or another
  // one.
  SearchGap(const std::vector<std::string>& folders, const SearchSpace& space, const Predictor& predictor);

  // What was derived in the epochs that trained the architecture, each once.
  const std::vector<Genotype>& genotypes() const { return genotypes_; }
  // `measured`: of each of these.
  Json describe(const std::vector<double>& measured) const;

 private:
  struct Epoch {
    Json record;      // of epochs.jsonl
    size_t genotype;  // index
  };
  struct Search {
    std::string folder;
    Json config;
    std::vector<Epoch> epochs;
  };
  void read(const std::string& folder, const SearchSpace& space, const std::string& fingerprint);

  std::vector<Search> searches_;
  std::vector<Genotype> genotypes_;
};

std::string search_gap_text(const Json& description);

}  // namespace ladarts
