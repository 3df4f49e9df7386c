#include "predictor/gp.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "predictor/dense.h"
#include "predictor/fit.h"
#include "predictor/gp_tuning.h"
#include "predictor/lbfgs.h"
#include "tests/predictor/regressor_support.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

std::vector<double> random_positive_definite(int64_t n, uint64_t seed) {
  Random random(seed);
  std::vector<double> b(size_t(n * n)), a(size_t(n * n));
  for (double& v : b) v = random.uniform(-1, 1);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t k = 0; k < n; ++k) a[size_t(i * n + j)] += b[size_t(i * n + k)] * b[size_t(j * n + k)];
      if (i == j) a[size_t(i * n + j)] += 0.5;
    }
  return a;
}

// Edges' operations and how many there are of each.
FeatureExpansion with_counts() {
  ExpansionBuilder builder(kEdges * kOps);
  for (int i = 0; i < kEdges * kOps; ++i) builder.feature(builder.input(i));
  builder.end_group();
  for (int op = 0; op < kOps; ++op) {
    Form count;
    for (int e = 0; e < kEdges; ++e) count = count + builder.input(e * kOps + op);
    builder.feature(count);
  }
  builder.end_group();
  // One that is no sum: edge 0 and edge 1 both have operation 0, or else edge 2 has.
  builder.feature(
      builder.either(builder.product(builder.input(0), builder.input(kOps)), builder.input(2 * kOps)));
  builder.end_group();
  return builder.build();
}

GpOptions options_with_counts() {
  GpOptions o;
  o.expansion = with_counts();
  return o;
}

Dataset noisy(Dataset data, double size, uint64_t seed) {
  Random random(seed, 9);
  for (double& c : data.costs) c *= std::exp(size * double(random.normal()));
  return data;
}

// Costs that grow by half where the expansion's last feature is on.
Dataset structured_costs(int rows, uint64_t seed) {
  Dataset data = table_costs(rows, seed);
  const FeatureMatrix expanded = with_counts().apply(data.features);
  for (int64_t i = 0; i < data.size(); ++i) data.costs[size_t(i)] += 5 * double(expanded.row(i).back());
  return data;
}

double error_of(const Regressor& model, const Dataset& test) {
  return error_report(model.predict(test.features), test.costs).mean_relative_error;
}

}  // namespace

TEST_CASE("dense: factor, solutions and inverse of matrices around the block size", "[predictor][dense]") {
  for (const int64_t n : {1, 7, 64, 65, 150, 300}) {
    const std::vector<double> a = random_positive_definite(n, uint64_t(n));
    std::vector<double> l = a;
    REQUIRE(dense::cholesky(l, n));
    std::vector<double> b(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) b[size_t(i)] = double(i % 7) - 2;
    std::vector<double> x = b, forward = b;
    dense::solve(l, n, x);
    const std::vector<double> inverse = dense::inverse_from_lower(dense::lower_inverse(l, n), n);
    dense::solve_lower(l, n, forward, 1);
    double worst = 0, worst_inverse = 0, worst_forward = 0;
    for (int64_t i = 0; i < n; ++i) {
      double ax = -b[size_t(i)], lf = -b[size_t(i)], direct = -x[size_t(i)];
      for (int64_t j = 0; j < n; ++j) {
        ax += a[size_t(i * n + j)] * x[size_t(j)];
        lf += l[size_t(i * n + j)] * forward[size_t(j)];
        direct += inverse[size_t(i * n + j)] * b[size_t(j)];
      }
      worst = std::max(worst, std::abs(ax));
      worst_forward = std::max(worst_forward, std::abs(lf));
      worst_inverse = std::max(worst_inverse, std::abs(direct));
    }
    INFO("n = " << n);
    CHECK(worst < 1e-9);
    CHECK(worst_forward < 1e-9);
    CHECK(worst_inverse < 1e-9);
  }
  std::vector<double> indefinite = {1, 2, 2, 1};
  CHECK_FALSE(dense::cholesky(indefinite, 2));
}

TEST_CASE("lbfgs: finds the minimum of a bent valley", "[predictor][lbfgs]") {
  const std::vector<double> x = minimise(
      [](const std::vector<double>& p, std::vector<double>& g) {
        const double a = 1 - p[0], b = p[1] - p[0] * p[0];
        g = {-2 * a - 400 * p[0] * b, 200 * b};
        return a * a + 100 * b * b;
      },
      {-1.2, 1}, {.iterations = 200, .tolerance = 1e-14});
  CHECK(x[0] == Approx(1).margin(1e-4));
  CHECK(x[1] == Approx(1).margin(1e-4));
}

TEST_CASE("gp: the tuning's gradient matches finite differences", "[predictor][gp]") {
  Random random(4);
  const int64_t n = 40;
  std::vector<double> x, targets, relative, own;
  for (int64_t i = 0; i < n * 5; ++i) x.push_back(random.normal());
  for (int64_t i = 0; i < n; ++i) {
    targets.push_back(random.normal());
    relative.push_back(random.uniform(0.5f, 2.f));
  }
  for (int64_t i = 0; i < n; ++i) own.push_back(random.uniform(0.f, 0.3f));
  const GpTuning tuning(x, n, std::vector<int64_t>{3, 2}, ThreadPool::global());
  const GpTuning::Noise noise{.relative = relative, .own = own};
  std::vector<double> c = {-0.3, 0.2, -1, 0.4, 0.1, -2}, gradient, unused;
  tuning.objective(c, targets, noise, gradient);
  for (size_t i = 0; i < c.size(); ++i) {
    std::vector<double> up = c, down = c;
    up[i] += 1e-5;
    down[i] -= 1e-5;
    const double slope =
        (tuning.objective(up, targets, noise, unused) - tuning.objective(down, targets, noise, unused)) /
        2e-5;
    INFO("constant " << i);
    CHECK(gradient[i] == Approx(slope).epsilon(1e-5).margin(1e-6));
  }
}

TEST_CASE("gp: a few rows of a thousandth of the cost leave the predictions of the others alone",
          "[predictor][gp]") {
  Dataset data = structured_costs(100, 1);
  for (size_t i = 0; i < data.costs.size(); i += 25) data.costs[i] /= 1000;
  const Dataset test = structured_costs(200, 9);
  const auto model = fit_gp(data, options_with_counts());
  const std::vector<double> predicted = model->predict(test.features);
  CHECK(error_report(predicted, test.costs).median_relative_error < 0.1);
}

TEST_CASE("gp: gradients with respect to features match finite differences", "[predictor][gp]") {
  const Dataset data = table_costs(120, 3, 4.0);
  const auto model = fit_gp(data, options_with_counts());
  check_feature_gradient(*model, 1);
  Dataset products = table_costs(120, 3);  // costs that multiply: the link becomes a logarithm
  for (double& c : products.costs) c = std::exp(0.3 * c);
  const auto log_model = fit_gp(products, options_with_counts());
  CHECK(log_model->link() == CostLink::log);
  CHECK(error_of(*log_model, products) < 1e-3);
  check_feature_gradient(*log_model, 2);
}

TEST_CASE("gp: fewer measurements than the other models where structure counts", "[predictor][gp]") {
  const Dataset train = structured_costs(60, 1), test = structured_costs(500, 2);
  const double gp = error_of(*fit_gp(train, options_with_counts()), test);
  CHECK(gp < 0.3 * error_of(*fit_additive(train), test));
  CHECK(gp < 0.3 * error_of(*fit_mlp(train, quick()), test));
  CHECK(gp < 0.3 * error_of(*fit_gp(train), test));  // without the features that know it
  // What is additive is found to be so.
  const Dataset plain = table_costs(60, 1), plain_test = table_costs(500, 2);
  CHECK(error_of(*fit_gp(plain, options_with_counts()), plain_test) < 1e-3);
}

TEST_CASE("gp: a few wild measurements do not spoil it", "[predictor][gp]") {
  const Dataset test = table_costs(500, 2);
  Dataset train = noisy(table_costs(80, 1), 0.02, 3);
  const double clean = error_of(*fit_gp(train, options_with_counts()), test);
  for (const size_t i : {5u, 30u, 61u}) train.costs[i] *= 3;
  const double wild = error_of(*fit_gp(train, options_with_counts()), test);
  CHECK(clean < 0.02);
  CHECK(wild < 2 * clean);
  GpOptions trusting = options_with_counts();
  trusting.robust_rounds = 0;
  CHECK(wild < 0.5 * error_of(*fit_gp(train, trusting), test));
}

TEST_CASE("gp: deviations are those of a direct solve and hold the share that they should",
          "[predictor][gp]") {
  const Dataset train = noisy(table_costs(150, 1, 3.0), 0.05, 4),
                test = noisy(table_costs(1000, 2, 3.0), 0.05, 5);
  const auto model = fit_gp(train, options_with_counts());
  const std::vector<CostDistribution> d = model->distribution(test.features);
  const std::vector<double> means = model->predict(test.features);
  size_t one = 0, two = 0;
  for (size_t i = 0; i < d.size(); ++i) {
    CHECK(d[i].mean == Approx(means[i]).epsilon(1e-4));  // record() works in single precision
    one += std::abs(d[i].mean - test.costs[i]) <= d[i].deviation ? 1 : 0;
    two += std::abs(d[i].mean - test.costs[i]) <= 2 * d[i].deviation ? 1 : 0;
  }
  CHECK(double(one) / double(d.size()) == Approx(0.683).margin(0.08));
  CHECK(double(two) / double(d.size()) == Approx(0.954).margin(0.04));

  // The same variance by Gaussian elimination on the covariance, written out here.
  std::map<std::string, std::vector<float>> w;
  for (const auto& [name, storage] : model->weights()) w[name] = storage.to_vector();
  const size_t f = w["shift"].size(), n = w["noise"].size();
  auto k = [&](const double* a, const double* b) {
    double linear = 1, distance = 0;
    for (size_t j = 0; j < f; ++j) {
      linear += double(w["linear"][j]) * double(w["linear"][j]) * a[j] * b[j];
      distance += std::pow((a[j] - b[j]) * double(w["inverse_length"][j]), 2);
    }
    return linear + double(w["constants"][1]) * std::exp(-distance / 2);
  };
  const std::vector<double> c(w["centres"].begin(), w["centres"].end());
  std::vector<double> a(n * n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      a[i * n + j] = k(&c[i * f], &c[j * f]) + (i == j ? double(w["noise"][i]) : 0.0);
  const FeatureMatrix expanded = model->expansion().apply(test.features);
  for (size_t row = 0; row < 5; ++row) {
    std::vector<double> x(f), cross(n);
    for (size_t j = 0; j < f; ++j)
      x[j] = (double(expanded.row(int64_t(row))[j]) - double(w["shift"][j])) * double(w["scale"][j]);
    for (size_t i = 0; i < n; ++i) cross[i] = k(&c[i * f], x.data());
    const std::vector<double> solved = solve_cholesky(a, cross);
    double variance = k(x.data(), x.data());
    for (size_t i = 0; i < n; ++i) variance -= cross[i] * solved[i];
    const double cost = d[row].mean, log = model->link() == CostLink::log ? cost : 1;
    const double noise = double(w["constants"][3]) * (log == cost ? 1 : cost * cost);
    CHECK(d[row].deviation ==
          Approx(double(w["constants"][2]) * std::sqrt(variance + noise) * log).epsilon(1e-4));
  }
}

TEST_CASE("gp: with few rows deviations are checked on rows that the constants did not see",
          "[predictor][gp]") {
  // Over many small fits, since any one may be lucky.
  GpOptions checked = options_with_counts(), trusting = options_with_counts();
  trusting.calibration_folds = 0;
  double within_checked = 0, within_trusting = 0;
  const Dataset test = noisy(table_costs(300, 2, 3.0), 0.05, 5);
  constexpr int kFits = 12;
  for (uint64_t seed = 0; seed < kFits; ++seed) {
    const Dataset train = noisy(table_costs(12, 10 + seed, 3.0), 0.05, 40 + seed);
    within_checked +=
        calibration(fit_gp(train, checked)->distribution(test.features), test.costs).within_one / kFits;
    within_trusting +=
        calibration(fit_gp(train, trusting)->distribution(test.features), test.costs).within_one / kFits;
  }
  INFO(within_checked << " instead of " << within_trusting);
  CHECK(within_checked > 0.6);
  CHECK(std::abs(within_checked - 0.683) < std::abs(within_trusting - 0.683));
  // Predictions stay what they are.
  const Dataset train = noisy(table_costs(12, 3), 0.05, 4);
  CHECK(fit_gp(train, checked)->predict(test.features) == fit_gp(train, trusting)->predict(test.features));
}

TEST_CASE("gp: of many rows it takes some, and says how well left-out ones are predicted",
          "[predictor][gp]") {
  const Dataset train = noisy(table_costs(400, 1, 2.0), 0.04, 3),
                test = noisy(table_costs(800, 2, 2.0), 0.04, 7);
  GpOptions options = options_with_counts();
  options.tuning_rows = 100;
  options.most_rows = 250;
  const FittedGp fitted = fit_gp_leaving_out(train, options);
  CHECK(fitted.model->configuration()["rows"] == 250);
  CHECK(fitted.left_out_error == Approx(error_of(*fitted.model, test)).epsilon(0.2));
  options.most_rows = kMostGpRows + 1;
  CHECK_THROWS_WITH(fit_gp(train, options), ContainsSubstring("choose 5 to 6000"));
}

TEST_CASE("gp: the same bits for any number of threads, on a part of the rows too", "[predictor][gp]") {
  const Dataset data = noisy(table_costs(170, 6, 2.0), 0.03, 1);
  GpOptions options = options_with_counts();
  options.tuning_rows = 100;
  ThreadPool::set_global_threads(1);
  const std::vector<float> one = flat(*fit_gp(data, options));
  ThreadPool::set_global_threads(5);
  const std::vector<float> five = flat(*fit_gp(data, options));
  ThreadPool::set_global_threads(0);
  CHECK(one == five);
  CHECK(one != flat(*fit_gp(table_costs(170, 7, 2.0), options)));
}

TEST_CASE("gp: files give the same model again", "[predictor][gp]") {
  const TempFolder folder;
  const Dataset data = noisy(table_costs(60, 8, 2.0), 0.03, 2);
  const auto model = fit_gp(data, options_with_counts());
  save_predictor(folder / "gp", *model, example_info());
  const Predictor loaded = load_predictor(folder / "gp");
  CHECK(loaded.regressor->kind() == "gp");
  CHECK(loaded.regressor->predict(data.features) == model->predict(data.features));
  const auto a = loaded.regressor->distribution(data.features), b = model->distribution(data.features);
  for (size_t i = 0; i < a.size(); ++i) CHECK(a[i].deviation == b[i].deviation);

  nlohmann::json bad = model->configuration();
  bad["link"] = "cube";
  CHECK_THROWS_WITH(make_regressor("gp", bad), ContainsSubstring("unknown link 'cube'"));
  bad = model->configuration();
  bad["rows"] = 1 << 30;
  CHECK_THROWS_WITH(make_regressor("gp", bad), ContainsSubstring("rows"));
  bad = model->configuration();
  bad["expansion"]["output"][0].push_back(99999);
  CHECK_THROWS_WITH(make_regressor("gp", bad), ContainsSubstring("middle of a term"));
  bad["expansion"]["output"][0].push_back(1.0);
  CHECK_THROWS_WITH(make_regressor("gp", bad), ContainsSubstring("names value 99999"));
}

TEST_CASE("gp: says what it cannot fit", "[predictor][gp]") {
  CHECK_THROWS_WITH(fit_gp(table_costs(4, 1)), ContainsSubstring("measure more"));
  const Dataset some = table_costs(30, 1);
  CHECK_THROWS_WITH(fit_additive(some)->distribution(some.features), ContainsSubstring("--model gp"));
  Dataset flat_costs = some;
  for (double& c : flat_costs.costs) c = 5;
  for (const double y : fit_gp(flat_costs)->predict(some.features)) CHECK(y == Approx(5).epsilon(1e-4));
}

TEST_CASE("features: a recorded expansion is the one on the host, and survives JSON",
          "[predictor][features]") {
  FeatureExpansion e = with_counts();
  const Dataset data = table_costs(20, 1);
  Dataset soft = data;
  Random random(2);
  for (float& v : soft.features.values) v = random.uniform();
  for (const FeatureMatrix& x : {data.features, soft.features}) {
    const FeatureMatrix host = e.apply(x);
    Graph graph;
    const Storage input = Storage::create(Shape{x.rows, x.columns});
    input.upload(std::span<const float>(x.values));
    const RecordedExpansion recorded(e, {});
    const Storage output = graph.bind_output(recorded.record(graph.leaf(input)));
    compile(graph).run();
    const std::vector<float> got = output.to_vector();
    REQUIRE(got.size() == host.values.size());
    for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(host.values[i]).margin(1e-5));
  }
  const float* row = soft.features.row(3).data();
  const double expected = 1 - (1 - double(row[0]) * double(row[kOps])) * (1 - double(row[2 * kOps]));
  CHECK(e.apply(soft.features).row(3).back() == Approx(expected).margin(1e-5));
  const auto again = nlohmann::json::parse(nlohmann::json(e).dump()).get<FeatureExpansion>();
  CHECK(again.apply(soft.features).values == e.apply(soft.features).values);
  CHECK(again.groups == std::vector<int64_t>{kEdges * kOps, kOps, 1});
}

TEST_CASE("fit: auto takes the Gaussian process, and the report survives JSON", "[predictor][fit]") {
  FitOptions options;
  options.mlp = quick();
  FitResult fitted = fit_predictors(noisy(table_costs(80, 1), 0.02, 3), options);
  REQUIRE(fitted.gp);
  CHECK(&fitted.model("auto") == fitted.gp.get());
  CHECK(&fitted.model("mlp") == fitted.mlp.get());
  CHECK_THROWS_WITH(fitted.model("oracle"), ContainsSubstring("unknown model 'oracle'"));
  CHECK_FALSE(fitted.stack);  // too few rows
  CHECK_THROWS_WITH(fitted.model("stack"), ContainsSubstring("takes 300 architectures"));

  const nlohmann::json j = fitted.report;
  const auto again = j.get<FitReport>();
  CHECK(again.gp->mean_relative_error == fitted.report.gp->mean_relative_error);
  CHECK(again.gp_calibration->within_two == fitted.report.gp_calibration->within_two);
  nlohmann::json old = j;  // of a file written before there was one
  old.erase("gp");
  CHECK_FALSE(old.get<FitReport>().gp);
}

TEST_CASE("gp: the recorded deviation is the host's, at rows and between them",
          "[predictor][gp][deviation]") {
  for (const double noise : {0.002, 0.05})
    for (const int rows : {12, 150}) {
      const auto model = fit_gp(noisy(structured_costs(rows, 3), noise, 5), options_with_counts());
      FeatureMatrix x = table_costs(20, 8).features;
      Random random(2);
      for (int i = 0; i < 20; ++i) {  // relaxed: each edge's operations sum to one
        std::vector<float> row;
        for (int e = 0; e < kEdges; ++e) {
          float parts[kOps], total = 0;
          for (float& p : parts) total += p = random.uniform(0.01f, 1.f);
          for (const float p : parts) row.push_back(p / total);
        }
        x.append(row);
      }
      Graph graph;
      const Storage input = Storage::create(Shape{x.rows, x.columns});
      input.upload(std::span<const float>(x.values));
      const RecordedDistribution recorded = model->record_distribution(graph.leaf(input));
      const Storage mean = graph.bind_output(recorded.mean),
                    deviation = graph.bind_output(recorded.deviation);
      compile(graph).run();
      const std::vector<float> means = mean.to_vector(), deviations = deviation.to_vector();
      const auto expected = model->distribution(x);
      for (size_t i = 0; i < expected.size(); ++i) {
        INFO("noise " << noise << " rows " << rows << " point " << i
                      << (model->link() == CostLink::log ? " log" : " linear"));
        CHECK(double(means[i]) == Approx(expected[i].mean).epsilon(1e-3));
        CHECK(double(deviations[i]) == Approx(expected[i].deviation).epsilon(5e-3));
      }
    }
}

TEST_CASE("gp: the recorded deviation's gradient matches finite differences", "[predictor][gp][deviation]") {
  // The deviation as a regressor's prediction, for the check that all regressors share.
  struct Deviation : Regressor {
    std::unique_ptr<GpRegressor> model;
    std::string_view kind() const override { return "deviation"; }
    int64_t features() const override { return model->features(); }
    Tensor record(Tensor x) const override { return model->record_distribution(x).deviation; }
    nlohmann::json configuration() const override { return model->configuration(); }
    NamedStorages weights() const override { return model->weights(); }
  } deviation;
  deviation.model = fit_gp(noisy(structured_costs(40, 3), 0.01, 5), options_with_counts());
  check_feature_gradient(deviation, 7);
}

TEST_CASE("gp: regressors without a deviation refuse to record one", "[predictor][gp][deviation]") {
  const auto additive = fit_additive(table_costs(100, 7));
  Graph graph;
  const Tensor x = graph.leaf(Storage::create(Shape{1, kEdges * kOps}));
  CHECK_THROWS_WITH(additive->record_distribution(x), ContainsSubstring("does not know how certain it is"));
}
