#include "predictor/metrics.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace ladarts {

namespace {

void check_lengths(std::span<const double> a, std::span<const double> b) {
  require(a.size() == b.size() && !a.empty(), "[metrics] needs two lists of one length, got {} and {}",
          a.size(), b.size());
}

// Ranks from 1; ties share their mean rank.
std::vector<double> ranks(std::span<const double> v) {
  std::vector<size_t> order(v.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return v[i] < v[j]; });
  std::vector<double> rank(v.size());
  for (size_t begin = 0, end; begin < order.size(); begin = end) {
    for (end = begin; end < order.size() && v[order[end]] == v[order[begin]];) ++end;
    for (size_t i = begin; i < end; ++i) rank[order[i]] = 0.5 * double(begin + 1 + end);
  }
  return rank;
}

double pearson(const std::vector<double>& a, const std::vector<double>& b) {
  const double n = double(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

// Sorts v by merging and returns how many pairs stood in the wrong order.
int64_t sort_counting_inversions(std::span<double> v, std::vector<double>& scratch) {
  if (v.size() < 2) return 0;
  const auto left = v.subspan(0, v.size() / 2), right = v.subspan(v.size() / 2);
  int64_t inversions = sort_counting_inversions(left, scratch) + sort_counting_inversions(right, scratch);
  scratch.clear();
  size_t i = 0, j = 0;
  while (i < left.size() || j < right.size()) {
    if (j == right.size() || (i < left.size() && left[i] <= right[j])) {
      scratch.push_back(left[i++]);
    } else {
      inversions += int64_t(left.size() - i);
      scratch.push_back(right[j++]);
    }
  }
  std::copy(scratch.begin(), scratch.end(), v.begin());
  return inversions;
}

// Pairs within runs of equal elements.
template <class Equal>
int64_t tied_pairs(size_t n, Equal equal_to_previous) {
  int64_t pairs = 0, run = 0;  // run: equal elements right before this one
  for (size_t i = 1; i < n; ++i) {
    run = equal_to_previous(i) ? run + 1 : 0;
    pairs += run;
  }
  return pairs;
}

}  // namespace

double spearman(std::span<const double> a, std::span<const double> b) {
  check_lengths(a, b);
  return pearson(ranks(a), ranks(b));
}

// W. R. Knight, "A computer method for calculating Kendall's tau with ungrouped data", 1966.
double kendall(std::span<const double> a, std::span<const double> b) {
  check_lengths(a, b);
  const size_t n = a.size();
  std::vector<std::pair<double, double>> pairs(n);
  for (size_t i = 0; i < n; ++i) pairs[i] = {a[i], b[i]};
  std::sort(pairs.begin(), pairs.end());
  const int64_t tied_a = tied_pairs(n, [&](size_t i) { return pairs[i].first == pairs[i - 1].first; });
  const int64_t tied_both = tied_pairs(n, [&](size_t i) { return pairs[i] == pairs[i - 1]; });

  std::vector<double> second(n), scratch;
  for (size_t i = 0; i < n; ++i) second[i] = pairs[i].second;
  const int64_t discordant = sort_counting_inversions(second, scratch);
  const int64_t tied_b = tied_pairs(n, [&](size_t i) { return second[i] == second[i - 1]; });

  const int64_t all = int64_t(n) * int64_t(n - 1) / 2;
  const int64_t concordant_minus_discordant = all - tied_a - tied_b + tied_both - 2 * discordant;
  const double scale = std::sqrt(double(all - tied_a)) * std::sqrt(double(all - tied_b));
  return scale > 0 ? double(concordant_minus_discordant) / scale : 0;
}

double rmse(std::span<const double> a, std::span<const double> b) {
  check_lengths(a, b);
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / double(a.size()));
}

ErrorReport error_report(std::span<const double> predicted, std::span<const double> measured) {
  check_lengths(predicted, measured);
  std::vector<double> errors(measured.size());
  for (size_t i = 0; i < measured.size(); ++i) {
    require(measured[i] > 0, "[metrics] measured cost {} at position {} is not positive", measured[i], i);
    errors[i] = std::abs(predicted[i] - measured[i]) / measured[i];
  }
  std::sort(errors.begin(), errors.end());
  const size_t n = errors.size();
  const auto share_within = [&](double limit) {
    return double(std::upper_bound(errors.begin(), errors.end(), limit) - errors.begin()) / double(n);
  };
  return {.n = int64_t(n),
          .mean_relative_error = std::accumulate(errors.begin(), errors.end(), 0.0) / double(n),
          .median_relative_error = 0.5 * (errors[(n - 1) / 2] + errors[n / 2]),
          .within_5_percent = share_within(0.05),
          .within_10_percent = share_within(0.10),
          .rmse = rmse(predicted, measured),
          .spearman = spearman(predicted, measured),
          .kendall = kendall(predicted, measured)};
}

void to_json(nlohmann::json& j, const ErrorReport& r) {
  j = {{"n", r.n},
       {"mean_relative_error", r.mean_relative_error},
       {"median_relative_error", r.median_relative_error},
       {"within_5_percent", r.within_5_percent},
       {"within_10_percent", r.within_10_percent},
       {"rmse", r.rmse},
       {"spearman", r.spearman},
       {"kendall", r.kendall}};
}

void from_json(const nlohmann::json& j, ErrorReport& r) {
  j.at("n").get_to(r.n);
  j.at("mean_relative_error").get_to(r.mean_relative_error);
  j.at("median_relative_error").get_to(r.median_relative_error);
  j.at("within_5_percent").get_to(r.within_5_percent);
  j.at("within_10_percent").get_to(r.within_10_percent);
  j.at("rmse").get_to(r.rmse);
  j.at("spearman").get_to(r.spearman);
  j.at("kendall").get_to(r.kendall);
}

}  // namespace ladarts
