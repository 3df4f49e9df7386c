// Random masks that depend on (seed, step, stream, position) alone: the same on every device and thread
// count, and computed again in the backward pass instead of stored.
#pragma once

#include "core/graph.h"

namespace ladarts {

// Seed and step in memory, so that a recorded program sees them change. Copies share that memory.
class RandomState {
 public:
  explicit RandomState(uint64_t seed, Device device = {});
  void advance();  // to the next step; call before each run of a training program
  void set_step(uint64_t step);
  uint64_t step() const;
  uint64_t seed() const { return seed_; }
  Tensor leaf(Graph& graph) const { return graph.leaf(storage_, "random_state"); }
  const Storage& storage() const { return storage_; }  // (4) i32: seed low, high, step low, high

 private:
  uint64_t seed_;
  Storage storage_;
};

// x / (1 - rate) with probability 1 - rate, else 0, for each element. 0 <= rate < 1. Give every use in a
// network a stream of its own, 0 <= stream < 2^31.
Tensor dropout(Tensor x, float rate, const RandomState& state, uint32_t stream);

// The same for whole samples (rows of dimension 0), as drop-path does. `rate` is a one-element leaf that may
// vary between runs; 1 or more drops everything.
Tensor drop_path(Tensor x, Tensor rate, const RandomState& state, uint32_t stream);

// Element i is word i % 4 of philox(seed, step, (stream | 2^31) << 32 | i / 4) taken as a number in [0, 1);
// it is kept when that is at least the rate. The bit 2^31 keeps these apart from the counters of class
// Random.
class Dropout : public Op {  // (x, state: (4) i32) -> (y); also its own gradient
 public:
  Dropout(float r, uint32_t s) : rate(r), stream(s) {}
  std::string_view name() const override { return "dropout"; }
  void backward(Backward& b) const override;
  bool can_accumulate(int) const override { return true; }
  float rate;
  uint32_t stream;
};

class DropPath
    : public Op {  // (x, rate: (1), state: (4) i32) -> (y); also its own gradient; sample n is element n
 public:
  explicit DropPath(uint32_t s) : stream(s) {}
  std::string_view name() const override { return "drop_path"; }
  void backward(Backward& b) const override;
  std::optional<Recomputation> recomputation() const override { return Recomputation{}; }
  bool can_accumulate(int) const override { return true; }
  uint32_t stream;
};

}  // namespace ladarts
