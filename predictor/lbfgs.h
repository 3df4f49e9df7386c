// Minimisation of a smooth function of few unknowns: limited-memory BFGS with backtracking (Nocedal and
// Wright, Numerical Optimization, algorithm 7.5).
#pragma once

#include <functional>
#include <vector>

namespace ladarts {

struct LbfgsOptions {
  int iterations = 60;
  int memory = 8;
  double tolerance = 1e-5;  // stops where the function falls by less than this times (1 + its size)
};

// f(x, gradient) returns the value and fills the gradient; infinity where it is not defined. Returns the best
// x.
std::vector<double> minimise(const std::function<double(const std::vector<double>&, std::vector<double>&)>& f,
                             std::vector<double> x, const LbfgsOptions& options = {});

}  // namespace ladarts
