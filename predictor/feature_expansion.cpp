#include "predictor/feature_expansion.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "ops/arithmetic.h"
#include "ops/channels.h"
#include "ops/linear.h"

namespace ladarts {

namespace {

constexpr int64_t kMostFeatures = 1 << 20;  // guards files

std::vector<float> evaluate(const AffineMap& map, const std::vector<float>& state) {
  std::vector<float> y = map.bias;
  for (int64_t r = 0; r < map.rows; ++r) {
    float sum = 0;
    for (int64_t c = 0; c < map.columns; ++c)
      sum += map.weight[size_t(r * map.columns + c)] * state[size_t(c)];
    y[size_t(r)] += sum;
  }
  return y;
}

void check_map(const AffineMap& m, int64_t columns) {
  require(
      m.rows > 0 && m.columns == columns && int64_t(m.weight.size()) == m.rows * m.columns &&
          int64_t(m.bias.size()) == m.rows,
      "[features] a map of {} rows and {} columns ({} weights, {} constants) where the state has {} values",
      m.rows, m.columns, m.weight.size(), m.bias.size(), columns);
  for (const auto* values : {&m.weight, &m.bias})
    for (const float v : *values)
      require(std::isfinite(v), "[features] a map holds a value that is not finite");
}

nlohmann::json json_of(const AffineMap& m) {
  nlohmann::json rows = nlohmann::json::array();
  for (int64_t r = 0; r < m.rows; ++r) {
    nlohmann::json row = {m.bias[size_t(r)]};  // constant, then column and coefficient in turn
    for (int64_t c = 0; c < m.columns; ++c)
      if (const float w = m.weight[size_t(r * m.columns + c)]; w != 0) {
        row.push_back(c);
        row.push_back(w);
      }
    rows.push_back(std::move(row));
  }
  return rows;
}

AffineMap map_of(const nlohmann::json& rows, int64_t columns) {
  AffineMap m{int64_t(rows.size()), columns, {}, {}};
  require(m.rows < kMostFeatures, "[features] a map of {} rows", m.rows);
  m.weight.resize(size_t(m.rows * columns));
  for (int64_t r = 0; r < m.rows; ++r) {
    const nlohmann::json& row = rows[size_t(r)];
    m.bias.push_back(row.at(0).get<float>());
    require(row.size() % 2 == 1, "[features] row {} of a map ends in the middle of a term", r);
    for (size_t k = 1; k < row.size(); k += 2) {
      const auto c = row[k].get<int64_t>();
      require(c >= 0 && c < columns, "[features] row {} of a map names value {} of {}", r, c, columns);
      m.weight[size_t(r * columns + c)] = row[k + 1].get<float>();
    }
  }
  return m;
}

}  // namespace

FeatureExpansion FeatureExpansion::identity(int64_t inputs) {
  FeatureExpansion e;
  e.inputs = inputs;
  e.output = {inputs, inputs, std::vector<float>(size_t(inputs * inputs)),
              std::vector<float>(size_t(inputs))};
  for (int64_t i = 0; i < inputs; ++i) e.output.weight[size_t(i * inputs + i)] = 1;
  e.groups = {inputs};
  return e;
}

FeatureExpansion FeatureExpansion::with_more_inputs(int64_t more) const {
  FeatureExpansion e = *this;
  // The new variables come after the inputs, before the products.
  const auto widen = [&](AffineMap& map) {
    AffineMap wide{map.rows, map.columns + more, std::vector<float>(size_t(map.rows * (map.columns + more))),
                   map.bias};
    for (int64_t r = 0; r < map.rows; ++r)
      for (int64_t c = 0; c < map.columns; ++c)
        wide.weight[size_t(r * wide.columns + (c < inputs ? c : c + more))] =
            map.weight[size_t(r * map.columns + c)];
    map = std::move(wide);
  };
  for (Step& step : e.steps) {
    widen(step.left);
    widen(step.right);
  }
  widen(e.output);
  for (int64_t k = 0; k < more; ++k) {
    std::vector<float> row(size_t(e.output.columns));
    row[size_t(inputs + k)] = 1;
    e.output.weight.insert(e.output.weight.end(), row.begin(), row.end());
    e.output.bias.push_back(0);
  }
  e.inputs += more;
  e.output.rows += more;
  e.groups.push_back(more);
  e.check();
  return e;
}

void FeatureExpansion::check() const {
  require(inputs > 0 && inputs < kMostFeatures, "[features] an expansion of {} inputs", inputs);
  int64_t state = inputs;
  for (const Step& step : steps) {
    check_map(step.left, state);
    check_map(step.right, state);
    require(step.left.rows == step.right.rows, "[features] a product of {} and {} values", step.left.rows,
            step.right.rows);
    state += step.left.rows;
  }
  check_map(output, state);
  const int64_t grouped = std::accumulate(groups.begin(), groups.end(), int64_t(0));
  require(
      grouped == output.rows && std::all_of(groups.begin(), groups.end(), [](int64_t g) { return g > 0; }),
      "[features] groups of {} features in all, there are {}", grouped, output.rows);
}

FeatureMatrix FeatureExpansion::apply(const FeatureMatrix& x) const {
  require(x.rows == 0 || x.columns == inputs, "[features] the expansion takes {} features, the rows have {}",
          inputs, x.columns);
  FeatureMatrix result;
  for (int64_t i = 0; i < x.rows; ++i) {
    std::vector<float> state(x.row(i).begin(), x.row(i).end());
    for (const Step& step : steps) {
      const std::vector<float> left = evaluate(step.left, state), right = evaluate(step.right, state);
      for (size_t k = 0; k < left.size(); ++k) state.push_back(left[k] * right[k]);
    }
    result.append(evaluate(output, state));
  }
  return result;
}

RecordedExpansion::RecordedExpansion(const FeatureExpansion& expansion, Device device)
    : expansion_(expansion) {
  expansion_.check();
  for (const FeatureExpansion::Step& step : expansion_.steps)
    steps_.emplace_back(upload(step.left, device), upload(step.right, device));
  output_ = upload(expansion_.output, device);
}

RecordedExpansion::Map RecordedExpansion::upload(const AffineMap& map, Device device) const {
  Map result{Storage::create(Shape{map.rows, map.columns}, DType::f32, device),
             Storage::create(Shape{map.rows}, DType::f32, device)};
  result.weight.upload(std::span<const float>(map.weight));
  result.bias.upload(std::span<const float>(map.bias));
  return result;
}

Tensor RecordedExpansion::apply(const Map& map, Tensor x) {
  return linear(x, x.graph().leaf(map.weight), x.graph().leaf(map.bias));
}

Tensor RecordedExpansion::record(Tensor x) const {
  const Graph::Scope scope(x.graph(), "expansion");
  for (const auto& [left, right] : steps_) x = concat_channels({x, mul(apply(left, x), apply(right, x))});
  return apply(output_, x);
}

void to_json(nlohmann::json& j, const FeatureExpansion& e) {
  nlohmann::json steps = nlohmann::json::array();
  for (const FeatureExpansion::Step& step : e.steps)
    steps.push_back({json_of(step.left), json_of(step.right)});
  j = {{"inputs", e.inputs}, {"steps", steps}, {"output", json_of(e.output)}, {"groups", e.groups}};
}

void from_json(const nlohmann::json& j, FeatureExpansion& e) {
  e = {};
  j.at("inputs").get_to(e.inputs);
  require(e.inputs > 0 && e.inputs < kMostFeatures, "[features] an expansion of {} inputs", e.inputs);
  int64_t state = e.inputs;
  for (const nlohmann::json& step : j.at("steps")) {
    e.steps.push_back({map_of(step.at(0), state), map_of(step.at(1), state)});
    state += e.steps.back().left.rows;
  }
  e.output = map_of(j.at("output"), state);
  j.at("groups").get_to(e.groups);
  e.check();
}

Form Form::variable(int id) {
  Form f;
  f.terms_[id] = 1;
  return f;
}

Form Form::operator+(const Form& o) const {
  Form sum = *this;
  sum.constant_ += o.constant_;
  for (const auto& [id, coefficient] : o.terms_) {
    sum.terms_[id] += coefficient;
    if (sum.terms_[id] == 0) sum.terms_.erase(id);
  }
  return sum;
}

Form Form::operator-(const Form& o) const {
  return *this + o * -1;
}

Form Form::operator*(double factor) const {
  Form result(constant_ * factor);
  if (factor != 0)
    for (const auto& [id, coefficient] : terms_) result.terms_[id] = coefficient * factor;
  return result;
}

Form ExpansionBuilder::input(int i) const {
  require(i >= 0 && i < inputs_, "[features] input {} of {}", i, inputs_);
  return Form::variable(i);
}

int ExpansionBuilder::level_of(const Form& f) const {
  int level = 0;
  for (const auto& [id, coefficient] : f.terms())
    if (id >= inputs_) level = std::max(level, products_[size_t(id - inputs_)].level);
  return level;
}

Form ExpansionBuilder::product(const Form& a, const Form& b) {
  if (a.is_constant()) return b * a.constant();
  if (b.is_constant()) return a * b.constant();
  products_.push_back({a, b, std::max(level_of(a), level_of(b)) + 1});
  return Form::variable(inputs_ + int(products_.size()) - 1);
}

Form ExpansionBuilder::either(const Form& a, const Form& b) {
  return Form(1) - product(Form(1) - a, Form(1) - b);
}

void ExpansionBuilder::end_group() {
  const int64_t before = std::accumulate(groups_.begin(), groups_.end(), int64_t(0));
  if (int64_t(features_.size()) > before) groups_.push_back(int64_t(features_.size()) - before);
}

FeatureExpansion ExpansionBuilder::build() const {
  FeatureExpansion e;
  e.inputs = inputs_;
  e.groups = groups_;
  // Products of one level do not need each other: they make one step. Variables are numbered in that order.
  int levels = 0;
  for (const Term& p : products_) levels = std::max(levels, p.level);
  std::vector<int> place(size_t(inputs_) + products_.size());
  std::iota(place.begin(), place.begin() + inputs_, 0);
  int state = inputs_;
  for (int level = 1; level <= levels; ++level)
    for (size_t k = 0; k < products_.size(); ++k)
      if (products_[k].level == level) place[size_t(inputs_) + k] = state++;
  auto add_row = [&](AffineMap& map, const Form& f) {
    map.bias.push_back(float(f.constant()));
    map.weight.resize(size_t((map.rows + 1) * map.columns));
    for (const auto& [id, coefficient] : f.terms())
      map.weight[size_t(map.rows * map.columns + place[size_t(id)])] = float(coefficient);
    ++map.rows;
  };
  int64_t width = inputs_;
  for (int level = 1; level <= levels; ++level) {
    FeatureExpansion::Step step{{0, width, {}, {}}, {0, width, {}, {}}};
    for (const Term& p : products_)
      if (p.level == level) {
        add_row(step.left, p.left);
        add_row(step.right, p.right);
      }
    width += step.left.rows;
    e.steps.push_back(std::move(step));
  }
  e.output.columns = width;
  for (const Form& f : features_) add_row(e.output, f);
  e.check();
  return e;
}

}  // namespace ladarts
