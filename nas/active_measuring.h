// A campaign that chooses what to measure: few architectures, from which a model tells the costs of all
// others, until its error is known to be small enough or the budget is spent.
//
// All that it knows is in the store, so that a stopped campaign goes on where it was. Architectures are
// samples of the sampler (nas/sampler.h): those drawn at random are its first ones that were not measured,
// those chosen come from its last ones and carry {"choice": ...} among the row's details.
#pragma once

#include "nas/architecture_measuring.h"
#include "predictor/active_choice.h"
#include "predictor/drawn_error.h"

namespace ladarts {

struct ActiveOptions {
  int64_t budget = 100;  // architectures in the store at the end, those that it holds already included
  double goal = 0;       // relative error; 0: none, the whole budget is spent
  uint64_t seed = 0;
  Choice choice = Choice::telling;
  int64_t candidates = 1000;  // random architectures that a round chooses from; work grows with their square
  // Fits a model that has a covariance(). May throw MeasuringStopped.
  FitModel fit;
  int reference_every = 40;  // see MeasuringOptions
  std::function<void(int64_t done, int64_t budget, const Measurement& latest)> progress = {};
  std::function<void(const struct ActiveRound&)> round = {};    // called after each
  std::function<void(int64_t done, int64_t total)> again = {};  // see MeasuringOptions
};

// What is known after a round.
struct ActiveRound {
  int64_t measured = 0;    // architectures that the model is fitted on
  ErrorEstimate estimate;  // of the error on others, drawn at random
  double seconds = 0;      // since the beginning
  double fit_seconds = 0;  // of these, in models and choices so far
};

struct ActiveResult {
  std::unique_ptr<Regressor> model;  // fitted on all rows; null where interrupted
  std::vector<ActiveRound> curve;
  LeftOut left_out;  // what the last estimate rests on
  bool reached = false, interrupted = false;
  int64_t had = 0;     // architectures in the store before
  int64_t chosen = 0;  // of those in the store now, chosen by a model; others are random or of unknown origin
  MeasuringSummary summary;
};

// The rows of a context with a cost, the one that stands for each architecture, and which of them were drawn
// at random: those of a sampler that nobody chose.
struct MeasuredRows {
  std::vector<Measurement> rows;
  Dataset data;
  std::vector<uint8_t> drawn;
};
MeasuredRows measured_rows(const MeasurementStore& store, const CostContext& context,
                           const SearchSpace& space);

// Throws Error for a budget below kFirstRound or one that leaves no room for the random rows that an error is
// known from, and what measuring throws.
ActiveResult measure_actively(MeasurementStore& store, const SearchSpace& space, ArchitectureMeter& meter,
                              const ActiveOptions& options);

}  // namespace ladarts
