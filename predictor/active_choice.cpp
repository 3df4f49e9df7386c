#include "predictor/active_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "core/thread_pool.h"
#include "predictor/drawn_error.h"
#include "predictor/gp_tuning.h"

namespace ladarts {

namespace {

constexpr int64_t kLeastRound = 5;

FeatureMatrix joined(const FeatureMatrix& a, const FeatureMatrix& b) {
  if (a.rows == 0) return b;
  FeatureMatrix all = a;
  all.rows += b.rows;
  all.values.insert(all.values.end(), b.values.begin(), b.values.end());
  return all;
}

// Rows as the Gaussian process sees them before it knows a cost: centred, the typical size of each group's
// part of a row 1.
std::vector<double> standardised(const FeatureMatrix& inputs, const FeatureExpansion& expansion) {
  const FeatureMatrix x = expansion.apply(inputs);
  std::vector<double> s(x.values.begin(), x.values.end());
  const auto rows = size_t(x.rows), columns = size_t(x.columns);
  size_t begin = 0;
  for (const int64_t size : expansion.groups) {
    double square = 0;
    for (size_t k = begin; k < begin + size_t(size); ++k) {
      double mean = 0;
      for (size_t i = 0; i < rows; ++i) mean += s[i * columns + k] / double(rows);
      for (size_t i = 0; i < rows; ++i) {
        double& v = s[i * columns + k];
        v -= mean;
        square += v * v / double(rows);
      }
    }
    const double scale = square > 1e-12 ? 1 / std::sqrt(square) : 1;
    for (size_t i = 0; i < rows; ++i)
      for (size_t k = begin; k < begin + size_t(size); ++k) s[i * columns + k] *= scale;
    begin += size_t(size);
  }
  return s;
}

// Rows [measured, all) of x (all, F), the first of them that with the largest least distance from the others.
std::vector<int64_t> farthest(const std::vector<double>& x, size_t columns, size_t measured, size_t count) {
  const size_t all = x.size() / columns;
  std::vector<double> nearest(all - measured, std::numeric_limits<double>::infinity());
  auto add = [&](size_t row) {
    for (size_t i = measured; i < all; ++i) {
      double square = 0;
      for (size_t k = 0; k < columns; ++k) {
        const double off = x[i * columns + k] - x[row * columns + k];
        square += off * off;
      }
      nearest[i - measured] = std::min(nearest[i - measured], square);
    }
  };
  for (size_t i = 0; i < measured; ++i) add(i);
  std::vector<int64_t> chosen;
  std::vector<uint8_t> taken(nearest.size());
  while (chosen.size() < count) {
    size_t best = nearest.size();
    for (size_t i = 0; i < nearest.size(); ++i)
      if (!taken[i] && (best == nearest.size() || nearest[i] > nearest[best])) best = i;
    taken[best] = 1;
    chosen.push_back(int64_t(best));
    add(measured + best);
  }
  return chosen;
}

// covariance -= c c^T / (variance + noise) with c the column of `row`, as after measuring it.
void condition(RelativeCovariance& of, size_t row) {
  const size_t n = of.noise.size();
  std::vector<double>& s = of.covariance;
  const std::vector<double> column(s.begin() + std::ptrdiff_t(row * n),
                                   s.begin() + std::ptrdiff_t((row + 1) * n));
  const double variance = std::max(column[row], 0.0) + of.noise[row];
  if (variance <= 0) return;  // nothing to learn
  ThreadPool::global().parallel_for(int64_t(n), [&](int64_t i, int) {
    const double factor = column[size_t(i)] / variance;
    double* const out = s.data() + size_t(i) * n;
    for (size_t j = 0; j < n; ++j) out[j] -= factor * column[j];
  });
}

// What the Gaussian process expects before it knows a cost.
RelativeCovariance expected(const std::vector<double>& x, const FeatureExpansion& expansion) {
  const GpConstants typical = GpConstants::typical(expansion.groups.size());
  GpKernel kernel;
  kernel.rbf = typical.rbf();
  for (size_t g = 0; g < expansion.groups.size(); ++g) {
    const auto size = size_t(expansion.groups[g]);
    kernel.linear.insert(kernel.linear.end(), size, typical.linear(g));
    kernel.inverse_square.insert(kernel.inverse_square.end(), size,
                                 1 / (typical.length(g) * typical.length(g)));
  }
  const int64_t rows = int64_t(x.size()) / expansion.outputs();
  return {kernel.covariance(x, rows, x, rows, ThreadPool::global()),
          std::vector<double>(size_t(rows), typical.noise())};
}

}  // namespace

const std::vector<std::string>& choice_names() {
  static const std::vector<std::string> names = {"random", "space-filling", "disagreement", "telling"};
  return names;
}

Choice parse_choice(const std::string& text) {
  const auto at = std::find(choice_names().begin(), choice_names().end(), text);
  require(at != choice_names().end(),
          "[choice] unknown choice '{}'; known are random, space-filling, disagreement and telling", text);
  return Choice(at - choice_names().begin());
}

Round next_round(int64_t measured, int64_t drawn, int64_t left, double drawn_share) {
  const int64_t size =
      std::min(measured < kFirstRound ? kFirstRound - measured : std::max(kLeastRound, measured / 6), left);
  // No more than half, or what an estimate needs: a store full of rows that were not drawn is still used.
  const auto wanted = int64_t(std::ceil(drawn_share * double(measured + size))) - drawn;
  const int64_t least = drawn_share > 0 ? std::max(kMinDrawnRows - drawn, int64_t(0)) : 0;
  const int64_t random = std::clamp(std::max(std::min(wanted, (size + 1) / 2), least), int64_t(0), size);
  return {random, size - random};
}

std::vector<int64_t> choose_by_variance(Choice choice, RelativeCovariance& c, int64_t known, int64_t count) {
  const size_t n = c.noise.size();
  std::vector<uint8_t> taken(n);
  for (size_t row = 0; row < size_t(known); ++row) {
    taken[row] = 1;
    condition(c, row);
  }
  std::vector<double> gain(n);
  std::vector<int64_t> chosen;
  while (int64_t(chosen.size()) < std::min(count, int64_t(n) - known)) {
    ThreadPool::global().parallel_for(int64_t(n), [&](int64_t row, int) {
      const double* const column = c.covariance.data() + size_t(row) * n;
      const double variance = std::max(column[row], 0.0);
      double square = 0;
      for (size_t j = 0; j < n; ++j) square += column[j] * column[j];
      gain[size_t(row)] =
          choice == Choice::telling ? square / (variance + c.noise[size_t(row)] + 1e-300) : variance;
    });
    size_t best = n;
    for (size_t i = 0; i < n; ++i)
      if (!taken[i] && (best == n || gain[i] > gain[best])) best = i;
    taken[best] = 1;
    chosen.push_back(int64_t(best) - known);
    condition(c, best);
  }
  return chosen;
}

std::vector<int64_t> choose(Choice choice, const FeatureMatrix& candidates, const Known& known,
                            const FeatureExpansion& expansion, int64_t count) {
  require(count >= 0 && (known.measured.rows == 0 || known.measured.columns == candidates.columns),
          "[choice] {} of candidates with {} features, where {} were measured", count, candidates.columns,
          known.measured.columns);
  count = std::min(count, candidates.rows);
  if (count == 0) return {};
  if (choice == Choice::random) {
    std::vector<int64_t> first(static_cast<size_t>(count));
    std::iota(first.begin(), first.end(), int64_t(0));
    return first;
  }
  if (choice != Choice::space_filling && known.model) {
    RelativeCovariance covariance = known.model->covariance(joined(known.pending, candidates));
    return choose_by_variance(choice, covariance, known.pending.rows, count);
  }
  const FeatureMatrix before = joined(known.measured, known.pending);
  const std::vector<double> x = standardised(joined(before, candidates), expansion);
  if (choice == Choice::space_filling)
    return farthest(x, size_t(expansion.outputs()), size_t(before.rows), size_t(count));
  RelativeCovariance covariance = expected(x, expansion);
  return choose_by_variance(choice, covariance, before.rows, count);
}

}  // namespace ladarts
