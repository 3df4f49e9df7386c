#include "predictor/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>

namespace ladarts {

namespace {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

struct Pair {
  Vector step, change;  // of x and of the gradient
};

// -H gradient by the two-loop recursion.
Vector direction(const std::deque<Pair>& pairs, const Vector& gradient) {
  Vector d = gradient, weights(pairs.size());
  for (size_t k = pairs.size(); k-- > 0;) {
    weights[k] = dot(pairs[k].step, d) / dot(pairs[k].step, pairs[k].change);
    for (size_t i = 0; i < d.size(); ++i) d[i] -= weights[k] * pairs[k].change[i];
  }
  const double scale = pairs.empty() ? 1 / std::max(1.0, std::sqrt(dot(gradient, gradient)))
                                     : dot(pairs.back().step, pairs.back().change) /
                                           dot(pairs.back().change, pairs.back().change);
  for (double& v : d) v *= scale;
  for (size_t k = 0; k < pairs.size(); ++k) {
    const double correction = weights[k] - dot(pairs[k].change, d) / dot(pairs[k].step, pairs[k].change);
    for (size_t i = 0; i < d.size(); ++i) d[i] += correction * pairs[k].step[i];
  }
  for (double& v : d) v = -v;
  return d;
}

}  // namespace

std::vector<double> minimise(const std::function<double(const Vector&, Vector&)>& f, Vector x,
                             const LbfgsOptions& options) {
  Vector gradient(x.size());
  double value = f(x, gradient);
  std::deque<Pair> pairs;
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    Vector d = direction(pairs, gradient);
    double slope = dot(d, gradient);
    if (!(slope < 0)) {
      if (pairs.empty()) break;
      pairs.clear();
      continue;
    }
    // Unknowns are logarithms: a step beyond 3 is out of any model's range.
    const double largest = std::abs(
        *std::max_element(d.begin(), d.end(), [](double a, double b) { return std::abs(a) < std::abs(b); }));
    double length = std::min(1.0, 3 / largest), next_value = 0;
    Vector next(x.size()), next_gradient(x.size());
    bool found = false;
    for (int trial = 0; trial < 12 && !found; ++trial, length *= 0.4) {
      for (size_t i = 0; i < x.size(); ++i) next[i] = x[i] + length * d[i];
      next_value = f(next, next_gradient);
      found = next_value <= value + 1e-4 * length * slope;
    }
    if (!found) {
      if (pairs.empty()) break;
      pairs.clear();
      continue;
    }
    Pair pair{Vector(x.size()), Vector(x.size())};
    for (size_t i = 0; i < x.size(); ++i) {
      pair.step[i] = next[i] - x[i];
      pair.change[i] = next_gradient[i] - gradient[i];
    }
    const bool done = value - next_value < options.tolerance * (1 + std::abs(value));
    if (dot(pair.step, pair.change) > 1e-12) pairs.push_back(std::move(pair));
    if (int(pairs.size()) > options.memory) pairs.pop_front();
    x = std::move(next);
    gradient = std::move(next_gradient);
    value = next_value;
    if (done) break;
  }
  return x;
}

}  // namespace ladarts
