// Measures one cost of architectures: latency, peak memory, energy, ... What is sampled, skipped, repeated
// and stored is the campaign's matter (architecture_measuring.h); how one architecture is measured is the
// meter's.
#pragma once

#include "nas/genotype.h"
#include "predictor/measurement_store.h"

namespace ladarts {

// Thrown by a meter that interrupted() stopped in the midst of an architecture. Nothing of that is stored.
struct MeasuringStopped {};

class ArchitectureMeter {
 public:
  virtual ~ArchitectureMeter() = default;
  // What the cost is a cost of, with its unit. The same throughout the meter's life.
  virtual CostContext context() const = 0;
  // Fills in row's median, spread, repeats and whatever else is known of how it was measured; identity,
  // origin and machine are filled in already. Throws Error where this architecture cannot be measured: the
  // campaign then stores the reason as the row's status. Throws MeasuringStopped.
  virtual void measure(const Genotype& genotype, Measurement& row) = 0;
  // Whether measuring again gives the same cost to the last bit. The campaign takes no replicas then.
  virtual bool deterministic() const { return false; }
  // Whether the machine is as fast as at the best known of it, or becomes so within the time that a meter
  // waits for that. Only then are rows of a slowed machine measured again; no, where nothing can tell.
  virtual bool at_full_speed() { return false; }
  // Seconds spent so far before measuring proper: recording, compiling, writing the model.
  virtual double setup_seconds() const { return 0; }
};

}  // namespace ladarts
