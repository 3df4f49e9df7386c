// Training and evaluating a network of one genotype.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "core/json_file.h"
#include "nas/data/image_source.h"
#include "nas/network.h"

namespace ladarts {

struct TrainConfig {
  NetworkConfig network;
  int epochs = 600;
  int batch = 96;
  double lr = 0.025;  // SGD, cosine per epoch to 0
  int lr_warmup_epochs = 0;
  float momentum = 0.9f;
  float weight_decay = 3e-4f;
  float clip_norm = 5.f;
  float auxiliary_weight = 0.4f;  // of the auxiliary head's loss, where the network has one
  float drop_path = 0.2f;         // at the last epoch; rises linearly from 0
  float label_smoothing = 0.f;
  int cutout = 16;
  int64_t train_images = 0;  // 0: all
  int64_t test_images = 0;   // 0: all
  uint64_t seed = 0;
  Device device{};
};

// The published settings: "darts" and "pc-darts" for CIFAR-10 and "imagenet", all with an auxiliary head.
TrainConfig train_protocol(const std::string& name);

Json to_json(const TrainConfig& config);
Json settings_of(const TrainConfig& config);  // the part that read_train_config() reads
TrainConfig read_train_config(JsonFields& fields, TrainConfig base);

// Throws Error naming the setting that cannot be.
void require_valid(const TrainConfig& config);

struct Evaluation {
  int64_t images = 0;
  double loss = 0, accuracy = 0;
};

struct TrainOutcome {
  bool finished = false;  // false: interrupted, a checkpoint was written
  Evaluation test;        // of the last finished epoch
  std::vector<Json> epochs;
};

// Runs or continues training in `folder`: config.json, epochs.jsonl, checkpoint.safetensors, and at the end
// network.safetensors (see nas/network_file.h) and result.json.
TrainOutcome run_training(const TrainConfig& config, const ImageSource& train, const ImageSource& test,
                          const std::filesystem::path& folder);

// Loss and accuracy on the first `limit` images (0: all), with running statistics, on the device of `params`.
// Empty where interrupted().
std::optional<Evaluation> evaluate_network(const NetworkConfig& config, ParameterSet& params,
                                           ParameterSet& buffers, const ImageSource& images, int batch = 100,
                                           int64_t limit = 0,
                                           const std::function<void(int64_t images)>& progress = {});

}  // namespace ladarts
