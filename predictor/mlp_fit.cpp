#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "core/philox.h"
#include "core/program.h"
#include "core/thread_pool.h"
#include "ops/schedule.h"
#include "predictor/additive.h"
#include "predictor/mlp_fit_step.h"

namespace ladarts {

// Trains all members at once: one Program for a step of each, one for their validation errors.
class MlpTrainer {
 public:
  MlpTrainer(MlpRegressor& model, const Dataset& data, const MlpOptions& options);
  void train();
  std::vector<double> left_out();  // after training

 private:
  struct Member {
    Split rows;                            // test: the rows that choose its weights
    MlpFitStep::Batch check;               // these rows
    Storage check_error, check_predicted;  // (1), (V, 1)
    double best_error = std::numeric_limits<double>::infinity();
    Random order{0};
  };

  void choose_rows();
  void weigh_rows();
  void scale_costs();
  void start_at_additive_fit(int member);
  void record_check();
  void run_epoch();
  bool check_members();  // whether any got better; keeps the weights of those
  void gather(const std::vector<int64_t>& rows, int64_t begin, const MlpFitStep::Batch& batch);
  std::vector<Storage> weights_of(int member) const;
  // Layers this small take less time than handing them to other threads.
  ThreadPool* pool() { return model_.layers_.count() < kSerialWeights ? &serial_ : nullptr; }
  Device device() const { return model_.scale_.buffer()->device(); }
  Storage scratch(Shape shape) const { return Storage::create(shape, DType::f32, device()); }

  static constexpr int64_t kSerialWeights = 200'000;
  ThreadPool serial_{1};
  MlpRegressor& model_;
  const Dataset& data_;
  const MlpOptions& options_;
  int64_t batch_ = 0;
  std::vector<Member> members_;
  std::vector<std::vector<std::vector<float>>> best_;  // [member][storage]
  std::optional<MlpFitStep> step_;
  std::optional<Program> check_;
  std::vector<double> row_weights_;  // of each row's error, mean 1; empty: all count the same
  std::vector<float> feature_rows_, cost_rows_, weight_rows_;  // of a batch, on the host
};

MlpTrainer::MlpTrainer(MlpRegressor& model, const Dataset& data, const MlpOptions& options)
    : model_(model), data_(data), options_(options) {
  choose_rows();
  weigh_rows();
  scale_costs();
  if (options.linear_skip)
    for (int k = 0; k < options.members; ++k) start_at_additive_fit(k);
  step_.emplace(model, options, batch_, pool(), !row_weights_.empty());
  record_check();
}

void MlpTrainer::choose_rows() {
  const std::vector<Split> splits =
      options_.members == 1 ? std::vector{split_rows(data_, options_.validation_fraction, options_.seed)}
                            : fold_rows(data_, options_.members, options_.seed);
  batch_ = options_.batch;
  for (size_t k = 0; k < splits.size(); ++k) {
    members_.emplace_back().rows = splits[k];
    members_.back().order = Random(options_.seed, 0x6f72646572 + (uint64_t(k) << 40));  // streams "order"
    batch_ = std::min(batch_, int64_t(splits[k].train.size()));
  }
}

// An absolute error counts by the inverse of its size: by the root of what a squared one counts by.
void MlpTrainer::weigh_rows() {
  row_weights_ = noise_weights(data_, {.seed = options_.seed});
  for (double& w : row_weights_) w = std::sqrt(w);
  const double mean =
      std::accumulate(row_weights_.begin(), row_weights_.end(), 0.0) / double(row_weights_.size());
  for (double& w : row_weights_) w /= mean;
}

// The network's output is to have mean 0 and deviation 1 over the costs.
void MlpTrainer::scale_costs() {
  const double n = double(data_.costs.size());
  const double mean = std::accumulate(data_.costs.begin(), data_.costs.end(), 0.0) / n;
  double squares = 0;
  for (const double c : data_.costs) squares += (c - mean) * (c - mean);
  const double deviation = std::sqrt(squares / n);
  model_.shift_.set(float(mean));
  model_.scale_.set(float(deviation > 1e-6 * mean ? deviation : mean));  // all costs may be the same
}

void MlpTrainer::start_at_additive_fit(int member) {
  const Dataset rows = data_.subset(members_[size_t(member)].rows.train);
  const auto additive = fit_additive(rows, {.seed = options_.seed});
  const float scale = model_.scale_.item(), shift = model_.shift_.item();
  for (const auto& [name, storage] : additive->weights()) {
    std::vector<float> values = storage.to_vector();
    for (float& v : values) v = (v - (name == "intercept" ? shift : 0)) / scale;
    const char* target = name == "intercept" ? "bias" : "weight";
    const auto* entry = model_.skips_.find(fmt::format("member{}.skip.{}", member, target));
    LADARTS_CHECK(entry != nullptr);
    entry->value.upload(std::span<const float>(values));
  }
}

void MlpTrainer::record_check() {
  Graph graph(device());
  for (size_t k = 0; k < members_.size(); ++k) {
    Member& m = members_[k];
    const auto rows = int64_t(m.rows.test.size());
    m.check = {scratch(Shape{rows, model_.features_}), scratch(Shape{rows, 1}),
               row_weights_.empty() ? Storage() : scratch(Shape{rows, 1})};
    gather(m.rows.test, 0, m.check);
    const Tensor y = model_.record_units(model_.record_member(int(k), graph.leaf(m.check.features)));
    m.check_predicted = graph.bind_output(y);
    m.check_error = graph.bind_output(MlpFitStep::loss(y, m.check));
  }
  check_ = compile(graph, {.pool = pool()});
}

// Copies the rows rows[begin ...] to the device, as many as `batch` holds.
void MlpTrainer::gather(const std::vector<int64_t>& rows, int64_t begin, const MlpFitStep::Batch& batch) {
  const int64_t count = batch.costs.shape()[0], columns = data_.features.columns;
  const bool direct = device().kind == DeviceKind::cpu;
  if (!direct) feature_rows_.resize(size_t(count * columns));
  float* const to = direct ? reinterpret_cast<float*>(batch.features.data()) : feature_rows_.data();
  ThreadPool& threads = pool() ? *pool() : ThreadPool::global();
  constexpr int64_t kTaskRows = 64;
  threads.parallel_for((count + kTaskRows - 1) / kTaskRows, [&](int64_t task, int) {
    const int64_t end = std::min(count, (task + 1) * kTaskRows);
    for (int64_t i = task * kTaskRows; i < end; ++i) {
      const std::span<const float> row = data_.features.row(rows[size_t(begin + i)]);
      std::copy(row.begin(), row.end(), to + i * columns);
    }
  });
  if (!direct) batch.features.upload(std::span<const float>(feature_rows_));

  cost_rows_.clear();
  weight_rows_.clear();
  for (int64_t i = begin; i < begin + count; ++i) {
    cost_rows_.push_back(float(data_.costs[size_t(rows[size_t(i)])]));
    if (!row_weights_.empty()) weight_rows_.push_back(float(row_weights_[size_t(rows[size_t(i)])]));
  }
  batch.costs.upload(std::span<const float>(cost_rows_));
  if (!row_weights_.empty()) batch.weights.upload(std::span<const float>(weight_rows_));
}

void MlpTrainer::run_epoch() {
  size_t fewest = members_[0].rows.train.size();
  for (Member& m : members_) {
    std::vector<int64_t>& rows = m.rows.train;
    for (size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[m.order.below(uint32_t(i))]);
    fewest = std::min(fewest, rows.size());
  }
  for (int64_t begin = 0; begin + batch_ <= int64_t(fewest); begin += batch_) {
    for (size_t k = 0; k < members_.size(); ++k) gather(members_[k].rows.train, begin, step_->batches[k]);
    step_->program().run();
  }
}

std::vector<Storage> MlpTrainer::weights_of(int member) const {
  std::vector<Storage> result;
  const std::string prefix = fmt::format("member{}.", member);
  for (const auto& [name, storage] : model_.weights())
    if (name.starts_with(prefix)) result.push_back(storage);
  return result;
}

bool MlpTrainer::check_members() {
  check_->run();
  bool better = false;
  for (size_t k = 0; k < members_.size(); ++k) {
    const double error = members_[k].check_error.item();
    require(std::isfinite(error), "[mlp] training diverged; lower the learning rate (now {})",
            options_.learning_rate);
    if (error >= members_[k].best_error) continue;
    members_[k].best_error = error;
    best_[k].clear();
    for (const Storage& s : weights_of(int(k))) best_[k].push_back(s.to_vector());
    better = true;
  }
  return better;
}

void MlpTrainer::train() {
  best_.resize(members_.size());
  check_members();  // the start counts: an exactly additive cost needs no training
  constexpr int64_t kFewestEpochs = 10;
  int epochs = options_.epochs;
  if (options_.most_row_visits > 0)
    epochs = int(std::min<int64_t>(
        epochs, std::max(kFewestEpochs, options_.most_row_visits / std::max<int64_t>(data_.size(), 1))));
  const CosineSchedule schedule{.start = options_.learning_rate, .end = 0, .epochs = epochs};
  for (int epoch = 0, last_better = 0; epoch < epochs; ++epoch) {
    step_->learning_rate.set(float(learning_rate(schedule, epoch)));
    run_epoch();
    if (check_members()) last_better = epoch;
    if (options_.progress) {
      double error = 0;
      for (const Member& m : members_) error += m.best_error / double(members_.size());
      options_.progress(epoch + 1, epochs, error);
    }
    if (epoch - last_better >= options_.patience) break;
  }
  for (size_t k = 0; k < members_.size(); ++k) {
    const std::vector<Storage> weights = weights_of(int(k));
    for (size_t i = 0; i < weights.size(); ++i) weights[i].upload(std::span<const float>(best_[k][i]));
  }
}

std::vector<double> MlpTrainer::left_out() {
  if (members_.size() == 1) return {};
  check_->run();
  std::vector<double> predicted(static_cast<size_t>(data_.size()));
  for (const Member& m : members_) {
    const std::vector<float> values = m.check_predicted.to_vector();
    for (size_t i = 0; i < values.size(); ++i) predicted[size_t(m.rows.test[i])] = double(values[i]);
  }
  return predicted;
}

namespace {

void check_fit(const Dataset& data, const MlpOptions& options) {
  data.check();
  require(data.size() >= kMinRows, "[mlp] {} rows are too few to fit; measure at least {}", data.size(),
          kMinRows);
  require(options.epochs >= 1 && options.batch >= 1 && options.learning_rate > 0 && options.patience >= 1,
          "[mlp] needs at least one epoch ({}), batches of one row ({}), a learning rate ({}) and a patience "
          "({}) above 0",
          options.epochs, options.batch, options.learning_rate, options.patience);
}

}  // namespace

FittedMlp fit_mlp_leaving_out(const Dataset& data, const MlpOptions& options, Device device) {
  check_fit(data, options);
  auto model = std::make_shared<MlpRegressor>(data.features.columns, options, device);
  MlpTrainer trainer(*model, data, options);
  trainer.train();
  return {std::move(model), trainer.left_out()};
}

std::unique_ptr<MlpRegressor> fit_mlp(const Dataset& data, const MlpOptions& options, Device device) {
  check_fit(data, options);
  auto model = std::make_unique<MlpRegressor>(data.features.columns, options, device);
  MlpTrainer(*model, data, options).train();
  return model;
}

}  // namespace ladarts
