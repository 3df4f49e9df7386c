// Features computed from features: sums and products, known as data, so that what nas/ knows of architectures
// reaches a regressor, its file and the search's graph without predictor/ knowing of cells.
//
// The state begins as the inputs. Each step appends left(state) * right(state), elementwise, where left and
// right are affine; the result is output(state). Reachability, for example, is 1 - (1 - a)(1 - b): exact
// where the inputs are 0 or 1, and a probability (of independent inputs) where they are relaxed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/graph.h"
#include "core/safetensors.h"
#include "predictor/dataset.h"

namespace ladarts {

// weight (rows, columns) x + bias (rows)
struct AffineMap {
  int64_t rows = 0, columns = 0;
  std::vector<float> weight, bias;
};

struct FeatureExpansion {
  struct Step {
    AffineMap left, right;
  };
  int64_t inputs = 0;
  std::vector<Step> steps;
  AffineMap output;
  // Consecutive parts of the output that mean one kind of thing (operations of edges, counts): a model may
  // weigh each on its own. Their sizes sum to output.rows.
  std::vector<int64_t> groups;

  int64_t outputs() const { return output.rows; }
  FeatureMatrix apply(const FeatureMatrix& inputs) const;
  // Throws Error where sizes do not fit together.
  void check() const;

  // The inputs as they are, in one group.
  static FeatureExpansion identity(int64_t inputs);
  // The same with `more` inputs after the others, which the output has as they are, as its last group.
  FeatureExpansion with_more_inputs(int64_t more) const;
};

// The same on a graph, its maps as constants on one device.
class RecordedExpansion {
 public:
  RecordedExpansion(const FeatureExpansion& expansion, Device device);
  const FeatureExpansion& expansion() const { return expansion_; }
  Tensor record(Tensor x) const;  // (N, inputs) -> (N, outputs)

 private:
  struct Map {
    Storage weight, bias;
  };
  Map upload(const AffineMap& map, Device device) const;
  static Tensor apply(const Map& map, Tensor x);

  FeatureExpansion expansion_;
  std::vector<std::pair<Map, Map>> steps_;
  Map output_;
};

// Only what is not zero is written out: the maps are sparse.
void to_json(nlohmann::json& j, const FeatureExpansion& e);
void from_json(const nlohmann::json& j, FeatureExpansion& e);  // checked

// An affine form of the state's variables, by the builder below.
class Form {
 public:
  Form(double constant = 0) : constant_(constant) {}
  static Form variable(int id);
  Form operator+(const Form& o) const;
  Form operator-(const Form& o) const;
  Form operator*(double factor) const;
  bool is_constant() const { return terms_.empty(); }
  double constant() const { return constant_; }
  const std::map<int, double>& terms() const { return terms_; }

 private:
  std::map<int, double> terms_;  // variable -> coefficient, none of them zero
  double constant_;
};

class ExpansionBuilder {
 public:
  explicit ExpansionBuilder(int inputs) : inputs_(inputs) {}
  Form input(int i) const;
  Form product(const Form& a, const Form& b);  // a constant factor costs no step
  Form either(const Form& a, const Form& b);   // 1 - (1 - a)(1 - b)
  void feature(const Form& f) { features_.push_back(f); }
  void end_group();  // of the features since the last; an empty one is left out
  FeatureExpansion build() const;

 private:
  struct Term {
    Form left, right;
    int level;
  };
  int level_of(const Form& f) const;

  int inputs_;
  std::vector<Term> products_;  // variable inputs_ + k
  std::vector<Form> features_;
  std::vector<int64_t> groups_;
};

}  // namespace ladarts
