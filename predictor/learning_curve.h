// Error against the number of measurements, as a picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ladarts {

struct LearningCurve {
  struct Point {
    int64_t rows;  // fitted on
    double error;  // mean relative error, a fraction
    double band;   // half the width of its confidence interval; 0 where there is but one trial
  };
  std::string name;
  std::vector<Point> points;  // by ascending rows
};

// An SVG with both axes logarithmic: a line for each curve with its band, named at its right end. Throws
// Error where there is no point, or one whose rows or error are not positive.
std::string learning_curve_svg(const std::vector<LearningCurve>& curves, const std::string& title);

}  // namespace ladarts
