#include "predictor/learning_curve.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/svg.h"

namespace ladarts {

namespace {

constexpr double kWidth = 720, kHeight = 440, kLeft = 64, kRight = 110, kTop = 48, kBottom = 56;
constexpr double kLine = 15;  // pixels between names
constexpr const char* kColours[] = {"#1f77b4", "#d62728", "#7f7f7f", "#2ca02c", "#9467bd", "#8c564b"};
constexpr const char* kStyle =
    ".grid { stroke: #e4e4e4 } .band { fill-opacity: 0.18; stroke: none } .curve { fill: none; stroke-width: "
    "2 } .title { font-size: 14px }";

struct Frame {
  svg::Axis x, y;
};

double lower_end(const LearningCurve::Point& p) {
  return std::max(p.error - p.band, p.error / 3);  // a band to zero has no place on the axis
}

Frame frame_of(const std::vector<LearningCurve>& curves) {
  double least_rows = 1e300, most_rows = 0, least = 1e300, most = 0;
  for (const LearningCurve& c : curves)
    for (const LearningCurve::Point& p : c.points) {
      require(p.rows > 0 && p.error > 0 && p.band >= 0,
              "[learning curve] {}: an error of {} +- {} at {} rows", c.name, p.error, p.band, p.rows);
      least_rows = std::min(least_rows, double(p.rows));
      most_rows = std::max(most_rows, double(p.rows));
      least = std::min(least, lower_end(p));
      most = std::max(most, p.error + p.band);
    }
  require(most > 0, "[learning curve] no point to draw");
  const double margin = 0.04;  // decades
  return {
      {std::log10(least_rows) - margin, std::log10(most_rows) + margin, kLeft, kWidth - kLeft - kRight},
      {std::log10(least) - margin, std::log10(most) + margin, kHeight - kBottom, kTop + kBottom - kHeight}};
}

// 1, 2 and 5 times powers of ten within the axis, or more where it is less than a decade.
std::vector<double> ticks(const svg::Axis& axis) {
  std::vector<double> all, digits = {1, 2, 5};
  if (axis.high - axis.low < 1) digits = {1, 2, 3, 4, 5, 7};
  for (double decade = std::floor(axis.low); decade <= axis.high; ++decade)
    for (const double digit : digits)
      if (const double at = std::log10(digit) + decade; at >= axis.low && at <= axis.high)
        all.push_back(digit * std::pow(10, decade));
  return all;
}

std::string grid(const Frame& f) {
  std::string out;
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  for (const double rows : ticks(f.x)) {
    out += fmt::format("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" class=\"grid\"/>\n",
                       f.x.at(rows), kTop, bottom);
    out += svg::text(f.x.at(rows), bottom + 18, fmt::format("{:g}", rows), "text-anchor=\"middle\"");
  }
  for (const double error : ticks(f.y)) {
    out += fmt::format("<line y1=\"{0:.1f}\" y2=\"{0:.1f}\" x1=\"{1}\" x2=\"{2}\" class=\"grid\"/>\n",
                       f.y.at(error), kLeft, right);
    out += svg::text(kLeft - 8, f.y.at(error) + 4, fmt::format("{:g}%", 100 * error), "text-anchor=\"end\"");
  }
  return out + svg::text((kLeft + right) / 2, bottom + 40, "measurements", "text-anchor=\"middle\"") +
         svg::text(kLeft - 8, kTop - 10, "error", "text-anchor=\"end\"");
}

std::string drawn(const LearningCurve& curve, const Frame& f, const char* colour) {
  std::string line, above, below, dots;
  for (const LearningCurve::Point& p : curve.points) {
    const double x = f.x.at(double(p.rows));
    line += fmt::format("{:.1f},{:.1f} ", x, f.y.at(p.error));
    above += fmt::format("{:.1f},{:.1f} ", x, f.y.at(p.error + p.band));
    below = fmt::format("{:.1f},{:.1f} ", x, f.y.at(lower_end(p))) + below;
    dots += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"><title>{}, {} measurements: {:.2f}% +- "
        "{:.2f}%</title></circle>\n",
        x, f.y.at(p.error), colour, svg::escaped(curve.name), p.rows, 100 * p.error, 100 * p.band);
  }
  return fmt::format("<polygon points=\"{}{}\" fill=\"{}\" class=\"band\"/>\n", above, below, colour) +
         fmt::format("<polyline points=\"{}\" stroke=\"{}\" class=\"curve\"/>\n{}", line, colour, dots);
}

// Names beside the lines' right ends, moved apart where they would overlap.
std::string names(const std::vector<LearningCurve>& curves, const Frame& f) {
  std::vector<std::pair<double, size_t>> ends;
  for (size_t i = 0; i < curves.size(); ++i)
    if (!curves[i].points.empty()) ends.emplace_back(f.y.at(curves[i].points.back().error) + 4, i);
  std::sort(ends.begin(), ends.end());
  std::string out;
  double last = -1e9;
  for (const auto& [wanted, i] : ends) {
    last = std::max(wanted, last + kLine);
    out += svg::text(f.x.at(double(curves[i].points.back().rows)) + 10, last, curves[i].name,
                     fmt::format("fill=\"{}\"", kColours[i % std::size(kColours)]));
  }
  return out;
}

}  // namespace

std::string learning_curve_svg(const std::vector<LearningCurve>& curves, const std::string& title) {
  const Frame f = frame_of(curves);
  std::string out =
      svg::begin(kWidth, kHeight, kStyle) + svg::text(kLeft, 22, title, "class=\"title\"") + grid(f);
  for (size_t i = 0; i < curves.size(); ++i) out += drawn(curves[i], f, kColours[i % std::size(kColours)]);
  return out + names(curves, f) + "</svg>\n";
}

}  // namespace ladarts
