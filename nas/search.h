// The search: alternating architecture and weight steps over epochs, with a log, checkpoints and a derived
// genotype.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/json_file.h"
#include "nas/data/image_source.h"
#include "nas/genotype.h"
#include "nas/search_steps.h"
#include "predictor/predictor_file.h"

namespace ladarts {

struct SearchConfig {
  SearchStepConfig step;
  int epochs = 50;
  double lr = 0.025;  // cosine per epoch from lr to lr_min
  double lr_min = 0.001;
  int lr_warmup_epochs = 0;
  int architecture_start_epoch = 0;  // epochs before it train the weights alone
  int cutout = 0;
  int64_t images = 0;  // of the training set, half for weights, half for the architecture; 0: all
  uint64_t seed = 0;
};

// The published settings for CIFAR-10: "darts" or "pc-darts".
SearchConfig search_protocol(const std::string& name);

Json to_json(const SearchConfig& config);
// Fields that are absent keep their value in `base`; channels and layers that are 0 become 16 and 8 where
// cells are those of DARTS. The space must be set.
SearchConfig read_search_config(JsonFields& fields, SearchConfig base);

// Throw Error naming what cannot be: called by run_search(), and beforehand by jobs that would find out late.
void require_valid(const SearchConfig& config);
void require_enough_images(const SearchConfig& config, int64_t images);  // in the training set

struct SearchEpoch {
  int epoch = 0;
  double lr = 0;
  double train_loss = 0, train_accuracy = 0;            // over the epoch's weight steps
  double validation_loss = 0, validation_accuracy = 0;  // over its architecture steps; 0 before they start
  std::vector<double> alpha_entropy;                    // mean over edges, nats; of each cell type
  // Predicted; NaN without a predictor: of the latency term, of what would be derived, and the mean and
  // standard deviation over architectures drawn from alpha and beta (nas/relaxation.h).
  double relaxed_cost = 0, derived_cost = 0, drawn_cost = 0, drawn_deviation = 0;
  double derived_deviation = 0;  // the predictor's own, where the search counts it; NaN elsewhere
  std::string genotype;
  double seconds = 0;
};
Json to_json(const SearchEpoch& epoch);

struct SearchOutcome {
  bool finished = false;  // false: interrupted, a checkpoint was written
  Genotype genotype;
  std::vector<Json> epochs;  // records of epochs.jsonl
};

// Runs or continues the search in `folder`: config.json, epochs.jsonl, architecture.jsonl (alpha and beta
// after each epoch, "alpha_normal" and so on), checkpoint.safetensors (after each epoch, on an interrupt, and
// every few minutes), and at the end genotype.json. Continuing gives the same bits as a run that was never
// stopped. `predictor` may be null where lambda is 0.
SearchOutcome run_search(const SearchConfig& config, const ImageSource& images, const Predictor* predictor,
                         const std::filesystem::path& folder);

}  // namespace ladarts
