// Named parameters in one flat buffer, with their gradients in a second one of the same layout, so that an
// optimiser step is a single pass. Graphs of several programs (weight step, evaluation) share them by name.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/graph.h"

namespace ladarts {

// How a parameter starts. Uniform and normal draw from Philox keyed by seed and name, so a parameter's start
// does not depend on what else a network has.
struct Init {
  enum class Kind { constant, uniform, normal } kind = Kind::constant;
  float value = 0;  // the constant; or half width of the uniform; or standard deviation

  static Init constant(float v) { return {Kind::constant, v}; }
  static Init uniform(float half_width) { return {Kind::uniform, half_width}; }
  static Init normal(float deviation) { return {Kind::normal, deviation}; }
  // U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the start of convolutions and linear layers in the DARTS programs.
  static Init fan_in(int64_t fan_in);
};

class ParameterSet {
 public:
  explicit ParameterSet(uint64_t seed = 0, Device device = {});

  // The parameter of this name as a leaf of `graph`; declared on first use. Throws Error if it exists with
  // another shape, or if it is new and values() has been asked for already.
  Tensor get(Graph& graph, const std::string& name, Shape shape, Init init);

  struct Entry {
    std::string name;
    Storage value;
    Storage gradient;
    Init init;
  };
  const std::vector<Entry>& entries() const { return entries_; }
  const Entry* find(const std::string& name) const;  // null where there is none
  int64_t count() const;                             // scalars
  Device device() const { return values_->device(); }

  // The parameters among `entries()` as leaves of graph, and where their gradients go: arguments for
  // gradients().
  std::vector<Tensor> leaves(Graph& graph) const;
  std::vector<Storage> gradient_storages() const;

  // The flat buffers; the first call allocates and initialises, and closes the set to new names. Slices are
  // padded to 64 bytes with zeros.
  Storage values();
  Storage gradients();

 private:
  void initialise();
  uint64_t seed_;
  std::shared_ptr<Buffer> values_, gradients_;
  std::vector<Entry> entries_;
  std::map<std::string, size_t> index_;
  bool closed_ = false;
};

}  // namespace ladarts
