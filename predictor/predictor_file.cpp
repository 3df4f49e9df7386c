#include "predictor/predictor_file.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/fingerprint.h"
#include "core/safetensors.h"

namespace ladarts {

namespace {

constexpr const char* kFormat = "ladarts predictor 1";

// Order and spelling of the features.
std::string hash_of(const std::vector<std::string>& names) {
  Fingerprint fingerprint;
  for (const std::string& name : names) fingerprint.add(name);
  return fingerprint.str();
}

class Differences {
 public:
  template <class T>
  void compare(const char* what, const T& fitted, const T& expected) {
    if (fitted == expected) return;
    text_ +=
        fmt::format("{}{} is '{}', but '{}' is needed", text_.empty() ? "" : "; ", what, fitted, expected);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void check_expectation(const std::string& path, const CostContext& have, int64_t features,
                       const std::string& feature_hash, const PredictorExpectation& expected) {
  const CostContext& want = expected.context;
  Differences what;
  what.compare("space", have.space, want.space);
  what.compare("metric", have.metric, want.metric);
  what.compare("unit", have.unit, want.unit);
  what.compare("network", have.network, want.network);
  what.compare("batch", have.batch, want.batch);
  what.compare("image size", have.image_size, want.image_size);
  what.compare("precision", have.precision, want.precision);
  what.compare("number of features", features, int64_t(expected.feature_names.size()));
  require(what.text().empty(), "[predictor] '{}' predicts something else: its {}; fit one for this case",
          path, what.text());
  require(feature_hash == hash_of(expected.feature_names),
          "[predictor] '{}' was fitted on other features of the same number: the operations or edges of "
          "space '{}' have "
          "changed; fit it again",
          path, have.space);
  if (expected.allow_other_device) return;
  what.compare("device", have.device, want.device);
  what.compare("kind of device", have.device_kind, want.device_kind);
  what.compare("number of threads", have.threads, want.threads);
  what.compare("instruction set", have.isa, want.isa);
  require(what.text().empty(),
          "[predictor] '{}' was fitted on another device: its {}; fit one here, or allow another device",
          path, what.text());
}

}  // namespace

std::string fingerprint(const Predictor& predictor) {
  Fingerprint result;
  result.add(predictor.regressor->kind());
  for (const auto& [name, storage] : predictor.regressor->weights())
    result.add(name).add(std::as_bytes(std::span<const float>(storage.to_vector())));
  return result.str();
}

void save_predictor(const std::filesystem::path& path, const Regressor& regressor,
                    const PredictorInfo& info) {
  require(int64_t(info.feature_names.size()) == regressor.features(),
          "[predictor] {} feature names for {} features", info.feature_names.size(), regressor.features());
  const nlohmann::json description = {{"context", info.context},
                                      {"regressor", std::string(regressor.kind())},
                                      {"configuration", regressor.configuration()},
                                      {"feature_hash", hash_of(info.feature_names)},
                                      {"report", info.report},
                                      {"probe_ms", info.probe_ms}};
  save_storages(path, regressor.weights(), {{"format", kFormat}, {"predictor", description.dump()}});
}

Predictor load_predictor(const std::filesystem::path& path,
                         const std::optional<PredictorExpectation>& expected, Device device) try {
  const TensorFile file = load_tensors(path);
  const auto format = file.metadata.find("format");
  const auto text = file.metadata.find("predictor");
  require(format != file.metadata.end() && text != file.metadata.end(),
          "[predictor] '{}' holds tensors, but no predictor; 'ladarts fit' makes one", path.string());
  require(format->second == kFormat, "[predictor] '{}' has format '{}', this program reads '{}'",
          path.string(), format->second, kFormat);
  const nlohmann::json description = nlohmann::json::parse(text->second);
  Predictor predictor;
  description.at("context").get_to(predictor.context);
  description.at("report").get_to(predictor.report);
  predictor.probe_ms = description.value("probe_ms", 0.0);
  predictor.regressor =
      make_regressor(description.at("regressor").get<std::string>(), description.at("configuration"), device);
  if (expected)
    check_expectation(path.string(), predictor.context, predictor.regressor->features(),
                      description.at("feature_hash").get<std::string>(), *expected);
  load_storages(path, predictor.regressor->weights());
  return predictor;
} catch (const nlohmann::json::exception& e) {
  fail("[predictor] '{}' has a damaged description: {}", path.string(), e.what());
}

}  // namespace ladarts
